"""Compaction: many small segments become few large ones, while others append and read."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypocenter.errors import SourceError

from ..schema import SIGNALS
from ..window import HOUR_NS
from . import changes, durable
from .reading import rows_in
from .segment import COMPACTED, SUFFIX, Segment, write
from .tidy import tidy

if TYPE_CHECKING:
    import pyarrow as pa

    from .store import Store

GRACE_NS = HOUR_NS
# A group is sorted in memory: half a million spans take about half a gigabyte on the way.
_TARGET_ROWS = 512 * 1024
_LIVE_SEGMENTS = 8
_ORDER = {
    "spans": [("trace_id", "ascending"), ("start_ns", "ascending")],
    "points": [("series_id", "ascending"), ("time_ns", "ascending")],
    "logs": [("trace_id", "ascending"), ("time_ns", "ascending")],
    "events": [("time_ns", "ascending")],
    "objects": [("uid", "ascending"), ("valid_from_ns", "ascending")],
    "series": [("series_id", "ascending")],
}


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did: segments replaced, segments that replace them, and rows moved."""

    replaced: int = 0
    written: int = 0
    rows: int = 0

    def __add__(self, other: Compaction) -> Compaction:
        return Compaction(self.replaced + other.replaced, self.written + other.written, self.rows + other.rows)


def compact(store: Store, *, now_ns: int | None = None, grace_ns: int = GRACE_NS, live: bool = False) -> Compaction:
    """Replace the small segments of each past hour by larger ones, spans sorted by trace id.

    With ``live`` also those of the hour that is still filling, eight of about equal size at a time: each row is then
    moved a few times at most, however small the segments come.

    The rows stay the same and every reader sees each of them once at any moment, also when this is killed: the new
    files become visible, and the old ones cease to be, by one record. Old files are deleted ``grace_ns`` after that,
    by a later call. A damaged segment stays as it is.

    Raises
    ------
    SourceError
        Another compaction or pruning is at work, or the disk is full (both retryable).
    """
    now = time.time_ns() if now_ns is None else now_ns
    done = Compaction()
    with upkeep(store):
        for signal in SIGNALS:
            tidy(store.path / signal, store.staging(), now, grace_ns)
            for group in groups(store.segments(signal), now, live):
                done += _merge(store, signal, group, now)
    return done


@contextmanager
def upkeep(store: Store) -> Iterator[None]:
    """Hold the store's lock of upkeep; it is released also when the process dies. Writers and readers need none."""
    try:
        with (store.path / "upkeep.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise SourceError(f"{store.path}: another upkeep is at work; try again later", retryable=True) from None
    except OSError as error:
        raise durable.source_error(f"{store.path}: upkeep failed", error) from error


def in_order(signal: str, table: pa.Table) -> pa.Table:
    """Return rows as large segments hold them: spans by trace."""
    return table.sort_by(_ORDER[signal])


def groups(segments: Sequence[Segment], now_ns: int, live: bool) -> Iterator[list[Segment]]:
    """Yield the segments to merge: small ones of one hour of arrival, up to the target together."""
    this_hour = now_ns // HOUR_NS * HOUR_NS
    # Of the hour that is filling, segments of one size, on a scale of powers of eight.
    alike: dict[tuple[int, int], list[Segment]] = {}
    for segment in segments:
        if segment.rows < _TARGET_ROWS // 2:
            size = segment.rows.bit_length() // 3 if segment.arrived_hour_ns >= this_hour else -1
            alike.setdefault((segment.arrived_hour_ns, size), []).append(segment)
    for (_, size), found in sorted(alike.items()):
        if size >= 0 and (not live or len(found) < _LIVE_SEGMENTS):
            continue
        group: list[Segment] = []
        rows = 0
        for segment in found:
            if len(group) > 1 and rows + segment.rows > _TARGET_ROWS:
                yield group
                group, rows = [], 0
            group.append(segment)
            rows += segment.rows
        if len(group) > 1:
            yield group


def readable(store: Store, signal: str, group: list[Segment]) -> tuple[list[Segment], pa.Table]:
    """Return the segments of a group that are not damaged, and their rows; SourceError when these are not all."""
    damaged: set[str] = set()
    table = rows_in(group, signal, None, None, None, lambda path, _: damaged.add(path), store.filesystem)
    if damaged:
        return readable(store, signal, [segment for segment in group if str(segment.path) not in damaged])
    expected = sum(segment.rows for segment in group)
    if table.num_rows != expected:
        raise SourceError(f"{group[0].path}: footers promise {expected} rows, {table.num_rows} came; run store check")
    return group, table


def _merge(store: Store, signal: str, group: list[Segment], now_ns: int) -> Compaction:
    group, table = readable(store, signal, group)
    if len(group) < 2:
        return Compaction()
    folder = store.path / signal
    # The name keeps the hour of arrival, so that what was compacted can be compacted again.
    name = f"{durable.unique_name(group[0].arrived_hour_ns)}{SUFFIX}"
    temporary, final = store.staging() / name, folder / COMPACTED / name
    try:
        write(temporary, signal, in_order(signal, table), {})
        durable.sync(temporary)
        durable.make_folder(final.parent, folder)
        durable.publish([(temporary, final)], undo=True)
    finally:
        durable.remove([temporary])
    removes = [segment.path.relative_to(folder).as_posix() for segment in group]
    changes.publish(folder, store.staging(), now_ns, adds=[f"{COMPACTED}/{name}"], removes=removes)
    return Compaction(len(group), 1, table.num_rows)
