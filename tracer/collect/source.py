"""The contract between what brings telemetry (doors, pulls, watches) and what makes it durable."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hypocenter.errors import Overloaded

from ..batch import Batch

__all__ = ["Health", "Overloaded", "Sink", "Source"]


class Sink(Protocol):
    """Where every collector puts its batches; safe to call from many threads."""

    def put(self, batch: Batch, timeout_s: float | None = None) -> None:
        """Return when the rows are durable and visible.

        Raises
        ------
        Overloaded
            The queue is full, or ``timeout_s`` passed; try again later. After a timeout the rows may become durable
            all the same: what is sent again is de-duplicated at linking.
        SourceError
            The store cannot take them; ``retryable`` for a full disk and its like.
        """


@dataclass(frozen=True, slots=True)
class Health:
    """How a source fares: what fails now and is tried again (None: nothing), failures so far, more for ``/readyz``."""

    problem: str | None = None
    failures: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """Something that is pulled or watched; it runs in a thread of its own."""

    @property
    def name(self) -> str:
        """What it is called in ``/readyz``, ``/metrics`` and messages."""
        ...

    def health(self) -> Health:
        """Return how it fares now; called from other threads."""
        ...

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Put what comes until ``stop`` is set. Failures inside are counted and retried with back-off."""
