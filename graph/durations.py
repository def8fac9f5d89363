"""Durations of many groups at once, from the exponential histograms of rollups: quantiles and moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.window import SECOND_NS
from .histogram import middle

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Cells of a dense table of groups and buckets that are worth their memory (8 bytes each).
_DENSE = 20_000_000


@dataclass(frozen=True, slots=True)
class Durations:
    """Histograms of ``size`` groups: parallel arrays, sorted by group, then bucket, each pair once.

    A value stands for its bucket's middle, within 2.2 % of every duration that the bucket holds.
    """

    size: int
    group: Ints
    bucket: Ints
    count: Ints

    @classmethod
    def of(cls, histograms: pa.ChunkedArray, group: Ints, size: int) -> Durations:
        """Return the histograms (`hypocenter.graph.histogram`, nanoseconds) added up per ``group`` of their rows."""
        lists = histograms.combine_chunks()
        entries = pc.list_flatten(lists)
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy()
        return cls._summed(size, group, lengths, entries.field("bucket").to_numpy(), entries.field("count").to_numpy())

    def grouped(self, into: Ints, size: int) -> Durations:
        """Return the durations of coarser groups: group i joins group ``into[i]`` of ``size``."""
        return self._summed(size, into[self.group], 1, self.bucket, self.count)

    @classmethod
    def _summed(
        cls, size: int, group: Ints, lengths: npt.NDArray[np.int32] | int, bucket: npt.NDArray[Any], count: Ints
    ) -> Durations:
        """Return the sums of entries, of which each group in turn has ``lengths``."""
        low = int(bucket.min(initial=0))
        width = int(bucket.max(initial=0)) - low + 1
        key = np.repeat(group * width - low, lengths)
        key += bucket
        if size * width <= _DENSE:
            # Counting into a dense table is exact below 2^53 and many times faster than sorting.
            total = np.bincount(key, count)
            occupied = np.flatnonzero(total)
            return cls(size, occupied // width, occupied % width + low, total[occupied].astype(np.int64))
        occupied, inverse = np.unique(key, return_inverse=True)
        total = np.bincount(inverse, count).astype(np.int64)
        return cls(size, occupied // width, occupied % width + low, total)

    @property
    def value_s(self) -> Floats:
        """The middle of each entry's bucket in seconds."""
        return np.asarray(middle(self.bucket) / SECOND_NS, dtype=np.float64)

    def totals(self) -> Ints:
        """Return how many durations each group has, shape (size,)."""
        return np.bincount(self.group, self.count, self.size).astype(np.int64)

    def quantile(self, q: float) -> Floats:
        """Return the value at rank ceil(q n) of each group in seconds, shape (size,); NaN where a group is empty."""
        totals = self.totals()
        result = np.full(self.size, np.nan)
        known = totals > 0
        if known.any():
            reached = np.cumsum(self.count)
            before = np.cumsum(totals) - totals
            rank = np.maximum(1, np.ceil(q * totals)).astype(np.int64)
            result[known] = self.value_s[np.searchsorted(reached, (before + rank)[known])]
        return result

    def log_moments(self, floor_s: float = 0.001) -> tuple[Floats, Floats]:
        """Return mean and variance of log(value + floor) per group, shapes (size,); negative values count as zero.

        The logarithm makes a shift a ratio, and the floor keeps microseconds from outweighing what a user feels.
        """
        log = np.log(np.maximum(self.value_s, 0.0) + floor_s)
        totals = self.totals().astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(self.group, self.count * log, self.size) / totals
            variance = np.bincount(self.group, self.count * (log - mean[self.group]) ** 2, self.size) / totals
        return mean, variance
