"""The one interface of every ranking method, and the registry that names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from .case import Case
from .ranking import Ranking


class Ranker(Protocol):
    """All parameters go to ``__init__``, all data to ``rank``; no memory between cases."""

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]]  # of {"traces", "metrics", "graph", "logs", "events", "objects"}
    source: ClassVar[str]  # the paper, or a sentence

    def rank(self, case: Case) -> Ranking:
        """Return the ranking; raise `NotApplicable` when a requirement is missing."""
        ...


_REGISTRY: dict[str, Callable[[], Ranker]] = {}


def register(name: str, factory: Callable[[], Ranker]) -> None:
    """Add a ranker under ``name``; a name taken raises ValueError."""
    if name in _REGISTRY:
        raise ValueError(f"a ranker named {name!r} is registered already")
    _REGISTRY[name] = factory


def names() -> list[str]:
    """Return all names, in the order of registration."""
    from . import registry  # noqa: F401  registers the built-in methods

    return list(_REGISTRY)


def create(name: str) -> Ranker:
    """Return a new ranker; an unknown name raises ValueError that lists the known ones."""
    known = names()
    if name not in _REGISTRY:
        raise ValueError(f"unknown ranker {name!r}; known: {', '.join(known)}")
    return _REGISTRY[name]()
