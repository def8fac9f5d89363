"""Where series end: Prometheus leaves out samples that are stale, so their absence has to be told by a null."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..window import SECOND_NS

# A scrape may be late or fail once; Prometheus itself holds a sample for 5 minutes.
_MISSED = 2.5
_UNKNOWN_INTERVAL_NS = 60 * SECOND_NS


class Staleness:
    """The last sample of each series so far, over all answers of a pull; rows are those of a `SeriesBook`.

    ``step_ns`` is the distance of samples where a query sets it; None: each series has its own, the median so far.
    """

    def __init__(self, step_ns: int | None) -> None:
        self._step_ns = step_ns
        self._last = np.full(0, -1, np.int64)
        self._interval = np.zeros(0, np.int64)

    def ended(self, rows: np.ndarray, times: np.ndarray, among: np.ndarray, upto_ns: int) -> pd.DataFrame:
        """Return row and time_ns of the nulls: one interval after the last sample before each gap.

        ``rows`` and ``times`` (``n_samples``) are the samples up to ``upto_ns``, ``among`` the rows asked for. A series
        that is silent until ``upto_ns`` has ended; it may begin anew later.
        """
        asked = np.unique(np.r_[among, rows]).astype(np.int64)
        self._grow(int(asked.max(initial=-1)) + 1)
        known = asked[self._last[asked] >= 0]
        samples = pd.DataFrame({"row": np.r_[known, rows], "time_ns": np.r_[self._last[known], times]})
        samples = samples.drop_duplicates().sort_values(["row", "time_ns"], kind="stable")
        row, at = samples.row.to_numpy(), samples.time_ns.to_numpy()
        after = np.r_[at[1:], upto_ns]
        is_last = np.r_[row[1:] != row[:-1], True][: len(row)]
        after = np.where(is_last, upto_ns, after[: len(row)])
        self._learn(row[~is_last], (after - at)[~is_last])
        interval = self._interval_of(row)
        allowed = interval if self._step_ns else (interval * _MISSED).astype(np.int64)
        gap = after - at > allowed
        self._last[row[is_last]] = np.where(gap[is_last], -1, at[is_last])
        return pd.DataFrame({"row": row[gap], "time_ns": (at + interval)[gap]})

    def _grow(self, size: int) -> None:
        more = max(0, size - len(self._last))
        self._last = np.r_[self._last, np.full(more, -1, np.int64)]
        self._interval = np.r_[self._interval, np.zeros(more, np.int64)]

    def _learn(self, row: np.ndarray, delta: np.ndarray) -> None:
        if self._step_ns or not len(row):
            return
        new = self._interval[row] == 0
        medians = pd.Series(delta[new]).groupby(row[new]).median()
        # Scrapes jitter by milliseconds; whole seconds make the same null of overlapping pulls.
        whole = np.maximum(np.rint(medians.to_numpy() / SECOND_NS), 1).astype(np.int64) * SECOND_NS
        self._interval[medians.index.to_numpy()] = whole

    def _interval_of(self, row: np.ndarray) -> np.ndarray:
        if self._step_ns:
            return np.full(len(row), self._step_ns)
        told = self._interval[self._interval > 0]
        usual = int(np.median(told)) if len(told) else _UNKNOWN_INTERVAL_NS
        found: np.ndarray = np.where(self._interval[row] > 0, self._interval[row], usual)
        return found
