"""Hours of event time that hold rows: one wrong clock must not make anybody walk through half a million others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ..schema import TIME_COLUMN
from ..window import HOUR_NS, Window
from .segment import Segment

# The bounds of a segment over so many hours are believed to hold rows in each; of a longer one the times are read.
_FEW_HOURS = 48


class HeldHours:
    """What is known of segments, which are immutable: the hours of those whose times were read."""

    def __init__(self) -> None:
        self._known: dict[Path, np.ndarray] = {}

    def of(
        self, segments: Iterable[Segment], window: Window | None, filesystem: pafs.FileSystem | None = None
    ) -> list[Window]:
        """Return the whole hours that ``window`` (None: all time) touches and that hold rows of segments, in order.

        Hours between others of a segment of at most two days may be empty. A segment whose times cannot be read counts
        by the hours of its bounds.
        """
        found = [np.empty(0, np.int64), *(self._hours(one, filesystem) for one in segments if one.overlaps(window))]
        held = np.unique(np.concatenate(found))
        if window is not None:
            held = held[(held >= window.start_ns // HOUR_NS) & (held <= (window.end_ns - 1) // HOUR_NS)]
        return [Window(hour * HOUR_NS, (hour + 1) * HOUR_NS) for hour in held.tolist()]

    def _hours(self, segment: Segment, filesystem: pafs.FileSystem | None) -> np.ndarray:
        if segment.start_ns is None or segment.end_ns is None:
            return np.empty(0, np.int64)
        ends = [segment.start_ns // HOUR_NS, (segment.end_ns - 1) // HOUR_NS]
        if ends[1] - ends[0] < _FEW_HOURS:
            return np.arange(ends[0], ends[1] + 1)
        if segment.path not in self._known:
            self._known[segment.path] = _read(segment, filesystem, ends)
        return self._known[segment.path]


def _read(segment: Segment, filesystem: pafs.FileSystem | None, otherwise: list[int]) -> np.ndarray:
    name = TIME_COLUMN[segment.signal]
    try:
        times = pq.read_table(str(segment.path), columns=[name], filesystem=filesystem).column(name)
    except (OSError, pa.ArrowException):  # whoever reads its rows reports it
        return np.array(otherwise, np.int64)
    hours: np.ndarray = np.unique(np.floor_divide(pc.drop_null(times).to_numpy(), HOUR_NS))
    return hours
