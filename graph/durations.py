"""Durations of many groups at once, from the exponential histograms of rollups: quantiles and moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Durations:
    """Weighted values of ``size`` groups: parallel arrays sorted by group, then value (seconds, perhaps negative).

    A value is the geometric middle of its bucket, so it is within 2.2 % of every duration that the bucket holds.
    """

    size: int
    group: Ints
    value_s: Floats
    count: Ints

    @classmethod
    def of(cls, size: int, group: Ints, value_s: Floats, count: Ints) -> Durations:
        """Return the durations of unsorted, perhaps repeated entries."""
        order = np.lexsort((value_s, group))
        return cls(size, group[order], value_s[order], count[order])

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
