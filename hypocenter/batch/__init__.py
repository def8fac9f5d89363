"""The batch job: a pass over hours or days of a store, to tables and a page; what is done is not done again."""

from .sweep import Pass, run

__all__ = ["Pass", "run"]
