"""A small system of real processes, the faults put into it, and the recordings of them."""
