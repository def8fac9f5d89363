"""Retention: what is older than a limit ceases to be visible, then to exist."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..window import HOUR_NS
from . import changes
from .compact import GRACE_NS, upkeep
from .segment import Segment
from .tidy import tidy

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
            tidy(store.path / signal, store.staging(), now, grace_ns)
            old = [segment for segment in store.segments(signal) if _ended_ns(segment) <= before_ns]
            _remove(store, signal, old, now)
            gone, rows = gone + len(old), rows + sum(segment.rows for segment in old)
    return Pruning(gone, rows)


def prune_to_size(store: Store, keep_bytes: int, *, now_ns: int | None = None, grace_ns: int = GRACE_NS) -> Pruning:
    """Remove the segments that arrived first until the rest of them takes at most ``keep_bytes``; as `prune`."""
    now = time.time_ns() if now_ns is None else now_ns
    removed: list[Segment] = []
    with upkeep(store):
        aging = [segment for signal in _AGING for segment in store.segments(signal)]
        aging.sort(key=lambda segment: (segment.arrived_hour_ns, segment.name))
        sizes = [segment.path.stat().st_size for segment in aging]
        excess = sum(sizes) - keep_bytes
        for segment, size in zip(aging, sizes, strict=True):
            if excess <= 0:
                break
            removed.append(segment)
            excess -= size
        for signal in _AGING:
            tidy(store.path / signal, store.staging(), now, grace_ns)
            _remove(store, signal, [segment for segment in removed if segment.signal == signal], now)
    return Pruning(len(removed), sum(segment.rows for segment in removed))


def _ended_ns(segment: Segment) -> int:
    """Return when its rows ended; rows that claim to be later than their arrival have a wrong clock."""
    arrived = segment.arrived_hour_ns + HOUR_NS
    return arrived if segment.end_ns is None else min(segment.end_ns, arrived)


def _remove(store: Store, signal: str, segments: list[Segment], now_ns: int) -> None:
    if segments:
        folder = store.path / signal
        removes = [segment.path.relative_to(folder).as_posix() for segment in segments]
        changes.publish(folder, store.staging(), now_ns, removes=removes)
