"""The report: what the ranking says, in words for a terminal, as a card for a notebook, as a self-contained page."""
