"""Integrity: every page of every visible segment is read and compared with what its footer promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from ..schema import SIGNALS, TIME_COLUMN
from .reading import rows_in
from .segment import Segment

if TYPE_CHECKING:
    import pyarrow.fs as pafs

    from .store import Store


@dataclass(frozen=True, slots=True)
class Integrity:
    """What a check read, and a line for each segment that is not as it should be."""

    segments: int
    rows: int
    size_bytes: int
    problems: list[str]


def check(store: Store) -> Integrity:
    """Read the whole store, a segment at a time, page checksums verified, and report what is wrong with it."""
    segments = rows = size = 0
    damaged: dict[str, str] = {}
    for signal in SIGNALS:
        visible = store.segments(signal)
        size += store.size_bytes(visible)
        for segment in visible:
            segments, rows = segments + 1, rows + segment.rows
            if wrong := _fault(segment, store.filesystem):
                damaged[str(segment.path)] = wrong
    found = [f"{path}: {reason}" for path, reason in damaged.items()]
    return Integrity(segments, rows, size, sorted({*store.problems, *found}))


def _fault(segment: Segment, filesystem: pafs.FileSystem | None) -> str | None:
    damage: list[str] = []
    table = rows_in([segment], segment.signal, None, None, None, lambda _, reason: damage.append(reason), filesystem)
    if damage:
        return damage[0]
    if table.num_rows != segment.rows:
        return f"its footer promises {segment.rows} rows, it holds {table.num_rows}"
    if segment.start_ns is not None and segment.end_ns is not None:
        times = pc.call_function("min_max", [table.column(TIME_COLUMN[segment.signal])]).as_py()
        if (times["min"], times["max"] + 1) != (segment.start_ns, segment.end_ns):
            return "its footer's bounds of time are not those of its rows"
    return None
