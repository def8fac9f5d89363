"""Metric points as one matrix on a common clock, the form in which every scorer reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

_DEFAULT_STEP_NS = 15 * 10**9
_SERIES_ASKED = 1000
_MOST_STEPS = 200_000
_BATCH = 50_000


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
    (a fall is a counter reset and leaves the step unknown). Points whose series is not listed are left out.
    """
    ids, code = _codes(points["series_id"])
    samples = Samples(points, code, len(ids), start_ns, end_ns)
    used = np.zeros(len(ids) + 1, bool)  # the last for series without a point
    bounds = []
    for part, time, _ in samples:
        used[part] = True
        bounds += [int(time.min()), int(time.max())] if len(time) else []
    columns = ["series_id", "name", "kind", "temporality", "monotonic", "service", "pod", "node", "peer"]
    listing = series.select(columns).to_pandas().drop_duplicates("series_id")
    listing["code"] = pd.Index(ids).get_indexer(listing.series_id)
    listing = listing[used[listing.code]].sort_values("series_id").reset_index(drop=True)
    if not len(listing):
        return Metrics(np.empty((0, 0)), np.empty(0, "i8"), listing.drop(columns="code"))
    row_of = np.full(len(ids), len(listing), "i4")
    row_of[listing.pop("code")] = np.arange(len(listing))
    values, times = _matrix(samples, row_of, len(listing), (min(bounds), max(bounds)))
    counters = (listing.kind.eq("sum") & listing.monotonic.eq(True) & listing.temporality.eq("cumulative")).to_numpy()
    if counters.any():
        increase = np.diff(values[counters], axis=1, prepend=np.nan)
        values[counters] = np.where(increase < 0, np.nan, increase)
    return Metrics(values, times, listing)


@dataclass(frozen=True, slots=True)
class Samples:
    """The known values of a window, some at a time: there may be tens of millions, and a filter would copy them all."""

    points: pa.Table
    code: np.ndarray  # of each point's series
    n_series: int
    start_ns: int | None = None
    end_ns: int | None = None

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (series, time, value) of up to 50,000 points."""
        for code, time, value in self._parts():
            yield self._known(code, time, value)

    def step_ns(self) -> int:
        """Return the median sampling distance, over at most a thousand series that stand for all."""
        asked = np.arange(self.n_series) % max(-(-self.n_series // _SERIES_ASKED), 1) == 0
        # The few that are asked first, so that the rest need not be looked at.
        parts = ((*part, asked[part[0]]) for part in self._parts())
        some = [self._known(code[kept], time[kept], value[kept])[:2] for code, time, value, kept in parts]
        code, time = (np.concatenate(parts) for parts in zip(*some, strict=True)) if some else np.empty((2, 0), "i8")
        order = np.lexsort((time, code))
        gaps = np.diff(time[order])[np.diff(code[order]) == 0]
        gaps = gaps[gaps > 0]
        step = int(np.median(gaps)) if len(gaps) else _DEFAULT_STEP_NS
        # Round to the second: scrape jitter must not shift the grid.
        return max(round(step / 1e9) * 10**9, 10**9) if step >= 5 * 10**8 else step

    def _parts(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        at = 0
        for batch in self.points.select(["time_ns", "value"]).to_batches(max_chunksize=_BATCH):
            time, value = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
            yield self.code[at : at + len(time)], time, value
            at += len(time)

    def _known(
        self, code: np.ndarray, time: np.ndarray, value: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        known = ~np.isnan(value)  # null too
        if self.start_ns is not None:
            known &= time >= self.start_ns
        if self.end_ns is not None:
            known &= time < self.end_ns
        return (code, time, value) if known.all() else (code[known], time[known], value[known])


def _matrix(
    samples: Samples, row_of: np.ndarray, n_rows: int, bounds: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (values, time of each step's last sample); samples of row ``n_rows`` are left out.

    ``bounds`` are the first and the last time of the samples.
    """
    step = samples.step_ns()
    first, last = (time // step for time in bounds)
    sparse = last - first > _MOST_STEPS  # outliers in time: keep only the steps that hold data
    grid = (
        np.unique(np.concatenate([np.unique(time // step) for _, time, _ in samples]))
        if sparse
        else np.arange(first, last + 1)
    )
    values, times = np.full((n_rows + 1, len(grid)), np.nan), grid * step
    n_written = 0

    def write(code: np.ndarray, time: np.ndarray, value: np.ndarray) -> int:
        row, column = row_of[code], np.searchsorted(grid, time // step) if sparse else time // step - first
        values[row, column] = value
        # Were it a step's beginning, what comes just after an alert would precede it.
        np.maximum.at(times, column, time)
        return int((row < n_rows).sum())

    for part in samples:
        n_written += write(*part)
    if np.isfinite(values[:-1]).sum() < n_written:  # some share a cell: the later one is written last
        code, time, value = (np.concatenate(parts) for parts in zip(*samples, strict=True))
        order = np.argsort(time, kind="stable")
        write(code[order], time[order], value[order])
    held = np.flatnonzero(~np.isnan(values[:-1]).all(axis=0))
    kept = slice(int(held[0]), int(held[-1]) + 1) if len(held) else slice(0, 0)
    return values[:-1, kept], times[kept]


def sampling_step(points: pa.Table) -> int:
    """Return the median distance of two samples of one series, nanoseconds, 15 s where no series has two."""
    ids, code = _codes(points["series_id"])
    return Samples(points, code, len(ids)).step_ns()


def _codes(ids: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Return distinct ids, perhaps with unused ones, and the index of each row's; ids may come dictionary-encoded."""
    encoded = ids.combine_chunks() if pa.types.is_dictionary(ids.type) else ids.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
