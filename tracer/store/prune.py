"""Retention: what is older than a limit ceases to be visible, then to exist."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import changes
from .compact import GRACE_NS, upkeep

if TYPE_CHECKING:
    from .store import Store

# A series or an object seen first long ago may still describe what is new.
_AGING = ("spans", "points", "logs", "events")


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a pruning removed."""

    segments: int
    rows: int


def prune(store: Store, before_ns: int, *, now_ns: int | None = None, grace_ns: int = GRACE_NS) -> Pruning:
    """Remove the segments of spans, points, logs and events whose every row is older than ``before_ns``.

    They cease to be visible at once and are deleted ``grace_ns`` later, by a later call or compaction. Their names
    and the digests of their sources stay known: ingesting the same file again adds nothing.

    Raises SourceError as `hypocenter.tracer.store.compact.compact` does.
    """
    now = time.time_ns() if now_ns is None else now_ns
    gone = rows = 0
    with upkeep(store):
        for signal in _AGING:
            folder = store.path / signal
            changes.expire(folder, now - grace_ns)
            old = [s for s in store.segments(signal) if s.end_ns is not None and s.end_ns <= before_ns]
            if old:
                removes = [segment.path.relative_to(folder).as_posix() for segment in old]
                changes.publish(folder, store.staging(), now, removes=removes)
            gone, rows = gone + len(old), rows + sum(segment.rows for segment in old)
    return Pruning(gone, rows)
