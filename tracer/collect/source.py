"""The contract between what brings telemetry (doors, pulls, watches) and what makes it durable."""

from __future__ import annotations

import threading
from typing import Protocol

from hypocenter.errors import Overloaded

from ..batch import Batch

__all__ = ["Overloaded", "Sink", "Source"]


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


class Source(Protocol):
    """Something that is pulled or watched; it runs in a thread of its own."""

    @property
    def name(self) -> str:
        """What it is called in ``/readyz``, ``/metrics`` and messages."""
        ...

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Put what comes until ``stop`` is set. Failures inside are counted and retried with back-off."""
