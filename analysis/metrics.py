"""Metric points as one matrix on a common clock, the form in which every scorer reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_DEFAULT_STEP_NS = 15 * 10**9
_SERIES_ASKED = 1000


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
    known = pc.invert(pc.is_nan(points["value"]))  # null where the value is, and dropped with it
    if start_ns is not None:
        known = pc.and_(known, pc.greater_equal(points["time_ns"], start_ns))
    if end_ns is not None:
        known = pc.and_(known, pc.less(points["time_ns"], end_ns))
    points = points.select(["series_id", "time_ns", "value"])
    # A filter copies; there may be tens of millions of points.
    if not pc.all(known, skip_nulls=False).as_py():
        points = points.filter(known)
    ids, code = _codes(points["series_id"])
    columns = ["series_id", "name", "kind", "temporality", "monotonic", "service", "pod", "node", "peer"]
    listing = series.select(columns).to_pandas().drop_duplicates("series_id")
    listing = listing[listing.series_id.isin(ids)].sort_values("series_id").reset_index(drop=True)
    if not points.num_rows:
        return Metrics(np.empty((0, 0)), np.empty(0, "i8"), listing)
    row = pd.Index(listing.series_id).get_indexer(pd.Index(ids)).astype("i4")[code]
    time, value = points["time_ns"].to_numpy(), points["value"].to_numpy()
    step = _step(code, time, len(ids))
    if (row < 0).any():
        row, time, value = row[row >= 0], time[row >= 0], value[row >= 0]
    if not len(row):
        return Metrics(np.empty((0, 0)), np.empty(0, "i8"), listing)
    bucket = time // step
    first, last = int(bucket.min()), int(bucket.max())
    if last - first > 200_000:  # sparse outliers in time: keep only the steps that hold data
        grid, column = np.unique(bucket, return_inverse=True)
    else:
        grid, column = np.arange(first, last + 1), (bucket - first).astype("i4")
    values = np.full((len(listing), len(grid)), np.nan)
    values[row, column] = value
    if np.isfinite(values).sum() < len(value):  # some share a cell: the later one is written last
        order = np.argsort(time, kind="stable")
        values[row[order], column[order]] = value[order]
    counters = (listing.kind.eq("sum") & listing.monotonic.eq(True) & listing.temporality.eq("cumulative")).to_numpy()
    if counters.any():
        increase = np.diff(values[counters], axis=1, prepend=np.nan)
        values[counters] = np.where(increase < 0, np.nan, increase)
    # A step bears the time of its last sample: were it its beginning, what comes just after an alert would precede it.
    times = grid * step
    np.maximum.at(times, column, time)
    return Metrics(values, times, listing)


def sampling_step(points: pa.Table) -> int:
    """Return the median distance of two samples of one series, nanoseconds, 15 s where no series has two."""
    ids, code = _codes(points["series_id"])
    return _step(code, points["time_ns"].to_numpy(), len(ids))


def _codes(ids: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Return the distinct ids in use and the index of each row's among them; ids may come dictionary-encoded."""
    encoded = ids.combine_chunks() if pa.types.is_dictionary(ids.type) else ids.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    names, code = encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)
    used = np.zeros(len(names), bool)
    used[code] = True
    if not used.all():
        names, code = names.filter(pa.array(used)), (np.cumsum(used, dtype="i4") - 1)[code]
    return names.to_pylist(), code


def _step(code: np.ndarray, time: np.ndarray, n: int) -> int:
    """Return the median sampling distance, over at most a thousand series that stand for all."""
    if n > _SERIES_ASKED:
        kept = code % -(-n // _SERIES_ASKED) == 0
        code, time = code[kept], time[kept]
    order = np.lexsort((time, code))
    gaps = np.diff(time[order])[np.diff(code[order]) == 0]
    gaps = gaps[gaps > 0]
    step = int(np.median(gaps)) if len(gaps) else _DEFAULT_STEP_NS
    # Round to the second: scrape jitter must not shift the grid.
    return max(round(step / 1e9) * 10**9, 10**9) if step >= 5 * 10**8 else step
