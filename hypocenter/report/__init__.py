"""The report: what the ranking says, in words for a terminal, as a card for a notebook, as a self-contained page."""

from .answer import Answer, Step, answer
from .html import to_card, to_html, write_report
from .text import to_text

__all__ = ["Answer", "Step", "answer", "to_card", "to_html", "to_text", "write_report"]
