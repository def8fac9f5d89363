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

# Groups, how many entries each has in turn, and the entries' buckets and counts.
_Entries = tuple[Ints, npt.NDArray[np.int32] | int, npt.NDArray[Any], Ints]
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
        # Chunk by chunk: the entries of a day are many, and copying them is most of the work.
        return cls._summed(size, _entries(histograms, group))

    def grouped(self, into: Ints, size: int) -> Durations:
        """Return the durations of coarser groups: group i joins group ``into[i]`` of ``size``."""
        return self._summed(size, [(into[self.group], 1, self.bucket, self.count)])

    @classmethod
    def _summed(cls, size: int, parts: list[_Entries]) -> Durations:
        low = min((int(bucket.min(initial=0)) for _, _, bucket, _ in parts), default=0)
        width = max((int(bucket.max(initial=0)) for _, _, bucket, _ in parts), default=0) - low + 1
        if size * width <= _DENSE:
            # Counting into a dense table is many times faster than sorting.
            dense = np.zeros(size * width, np.int64)
            for group, lengths, bucket, count in parts:
                np.add.at(dense, np.repeat(group * width - low, lengths) + bucket, count)
            occupied = np.flatnonzero(dense)
            return cls(size, occupied // width, occupied % width + low, dense[occupied])
        keys = [np.repeat(group * width - low, lengths) + bucket for group, lengths, bucket, _ in parts]
        occupied, inverse = np.unique(np.concatenate(keys), return_inverse=True)
        total = np.zeros(len(occupied), np.int64)
        np.add.at(total, inverse, np.concatenate([count for *_, count in parts]))
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


def _entries(histograms: pa.ChunkedArray, group: Ints) -> list[_Entries]:
    """Return the entries of each chunk of histograms, given the group of each row."""
    found: list[_Entries] = []
    first = 0
    for lists in histograms.chunks:
        entries, lengths = lists.flatten(), pc.list_value_length(lists).fill_null(0).to_numpy()
        columns = (entries.field(name).to_numpy() for name in ("bucket", "count"))
        found.append((group[first : first + len(lists)], lengths, *columns))
        first += len(lists)
    return found
