"""Metric points as one matrix on a common clock, the form in which every scorer reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

_DEFAULT_STEP_NS = 15 * 10**9


@dataclass(frozen=True, slots=True)
class Metrics:
    """``values`` has shape (n_series, n_times), NaN where unknown; ``time_ns`` (n_times,) is ascending, that of
    each step's last sample.

    ``series`` is a frame of n_series rows in the order of ``values`` with columns name, kind, service, pod, node, peer.
    """

    values: np.ndarray
    time_ns: np.ndarray
    series: pd.DataFrame

    def between(self, start_ns: int, end_ns: int) -> np.ndarray:
        """Return the columns of ``[start_ns, end_ns)``, shape (n_series, k)."""
        low, high = np.searchsorted(self.time_ns, [start_ns, end_ns])
        return self.values[:, low:high]

    @property
    def step_ns(self) -> int:
        """The median distance of two steps, nanoseconds; 0 with fewer than two."""
        return int(np.median(np.diff(self.time_ns))) if len(self.time_ns) > 1 else 0


def to_metrics(series: pa.Table, points: pa.Table, start_ns: int | None = None, end_ns: int | None = None) -> Metrics:
    """Return the scalar points of ``[start_ns, end_ns)`` as a matrix; within one step the last value wins.

    The step is the median sampling distance over series; cumulative monotonic sums become increases per step
    (a fall is a counter reset and leaves the step unknown).
    """
    frame = points.select(["series_id", "time_ns", "value"]).to_pandas()
    if start_ns is not None:
        frame = frame[frame.time_ns >= start_ns]
    if end_ns is not None:
        frame = frame[frame.time_ns < end_ns]
    frame = frame[frame.value.notna()].sort_values(["series_id", "time_ns"], kind="stable")
    columns = ["series_id", "name", "kind", "temporality", "monotonic", "service", "pod", "node", "peer"]
    listing = series.select(columns).to_pandas().drop_duplicates("series_id")
    listing = listing[listing.series_id.isin(frame.series_id.unique())].sort_values("series_id").reset_index(drop=True)
    if frame.empty:
        return Metrics(np.empty((0, 0)), np.empty(0, "i8"), listing)
    gaps = frame.groupby("series_id").time_ns.diff().dropna()
    gaps = gaps[gaps > 0]
    step = int(gaps.median()) if len(gaps) else _DEFAULT_STEP_NS
    # Round to the second: scrape jitter must not shift the grid.
    step = max(round(step / 1e9) * 10**9, 10**9) if step >= 5 * 10**8 else step
    row = pd.Index(listing.series_id).get_indexer(frame.series_id)
    known = row >= 0
    frame, row = frame[known], row[known]
    bucket = frame.time_ns.to_numpy() // step
    first, last = int(bucket.min()), int(bucket.max())
    if last - first > 200_000:  # sparse outliers in time: keep only the steps that hold data
        grid, column = np.unique(bucket, return_inverse=True)
    else:
        grid, column = np.arange(first, last + 1), bucket - first
    values = np.full((len(listing), len(grid)), np.nan)
    values[row, column] = frame.value.to_numpy()
    counters = (listing.kind.eq("sum") & listing.monotonic.eq(True) & listing.temporality.eq("cumulative")).to_numpy()
    if counters.any():
        increase = np.diff(values[counters], axis=1, prepend=np.nan)
        values[counters] = np.where(increase < 0, np.nan, increase)
    # A step bears the time of its last sample: were it its beginning, what comes just after an alert would precede it.
    times = grid * step
    np.maximum.at(times, column, frame.time_ns.to_numpy())
    return Metrics(values, times, listing)
