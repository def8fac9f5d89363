"""A budget of spans: how much of each hour is linked, told by the footers of segments before a span is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph.cache import OVERLAP_NS
from ..tracer.store import Store
from ..tracer.window import Window, hours


def views(store: Store, windows: Sequence[Window], most_spans: int | None) -> list[Store]:
    """Return the store as it is to be asked about each window: whole, or as a sample of its traces.

    Parameters
    ----------
    most_spans
        About how many spans may be linked of an hour; None: all that ``store`` shows.

    Notes
    -----
    Of all hours that a window touches one trace in the same number is linked: the smallest power of two that keeps the
    busiest of them within the budget. So new spans seldom make another sample, and no roll-up of an hour, its
    neighbours' included, costs more. A segment counts whole in each hour that it touches.
    """
    if most_spans is None:
        return [store] * len(windows)
    rows, known, found = _Rows(store), {store.sample: store}, []
    for window in windows:
        busiest = max((rows.within(hour) for hour in hours(window.start_ns, window.end_ns)), default=0)
        sample = max(store.sample, _power_of_two(-(-busiest // most_spans)))
        if sample not in known:
            known[sample] = store.sampled(sample)
        found.append(known[sample])
    return found


def _power_of_two(least: int) -> int:
    """Return the smallest power of two that is not less.

    >>> [_power_of_two(n) for n in (0, 1, 2, 3, 4, 5)]
    [1, 1, 2, 4, 4, 8]
    """
    return 1 << (max(least, 1) - 1).bit_length()


class _Rows:
    """The rows of segments that touch a window: those that began before its end without those that ended by then."""

    def __init__(self, store: Store) -> None:
        timed = [s for s in store.segments("spans") if s.start_ns is not None and s.end_ns is not None]
        rows = np.array([segment.rows for segment in timed], np.int64)
        self._began = _running([segment.start_ns for segment in timed], rows)
        self._ended = _running([segment.end_ns for segment in timed], rows)

    def within(self, hour: Window) -> int:
        """Return what is read to link an hour: traces may reach beyond its edges."""
        starts, began = self._began
        ends, ended = self._ended
        first, last = hour.start_ns - OVERLAP_NS, hour.end_ns + OVERLAP_NS
        return int(began[np.searchsorted(starts, last, "left")] - ended[np.searchsorted(ends, first, "right")])


def _running(times: Sequence[int | None], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return times in order, and the rows up to each, from none on."""
    at = np.array(times, np.int64)
    order = np.argsort(at, kind="stable")
    return at[order], np.concatenate([[0], np.cumsum(rows[order])])
