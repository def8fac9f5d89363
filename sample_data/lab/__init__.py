"""The fault lab: a shop of 18 services in two languages, the faults put into it, and the recorder of its incidents."""
