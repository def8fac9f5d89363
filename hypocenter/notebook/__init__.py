"""A notebook for one incident: a template in Markdown, filled in."""

from .write import write_notebook

__all__ = ["write_notebook"]
