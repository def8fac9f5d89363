"""Exponential histograms of integer nanoseconds: exact buckets, sums, and quantiles of known error.

A histogram is a list of ``{bucket, count}`` with ascending, distinct buckets and positive counts. The buckets are those
of an OpenTelemetry exponential histogram of scale 4 (base 2^(1/16), upper-inclusive), mirrored for negative values and
numbered in the order of their values:

- 0 holds the value 0;
- ``b > 0`` holds ``2^((b-2)/16) < value <= 2^((b-1)/16)``, OpenTelemetry's index being ``b - 2``;
- ``-b`` holds the negatives of ``b``.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TypedDict

import numpy as np
import pyarrow as pa

SCALE = 4
PER_OCTAVE = 1 << SCALE
# A quantile is reported as the geometric middle of its bucket, so it is off by at most this share of itself.
RELATIVE_ERROR = 2 ** (1 / (2 * PER_OCTAVE)) - 1
TYPE = pa.list_(pa.struct([("bucket", pa.int16()), ("count", pa.int64())]))


class Bin(TypedDict):
    """One occupied bucket and how many values it holds."""

    bucket: int
    count: int


@cache
def upper_bounds() -> tuple[int, ...]:
    """Return ``floor(2^(i/16))`` for each i up to the largest int64, by integer roots: bucket ``i + 1`` ends there."""
    return tuple(_root16(1 << i) for i in range(63 * PER_OCTAVE))


def _root16(value: int) -> int:
    # The floor of a square root of a floor is the floor of the fourth root, and so on.
    for _ in range(SCALE):
        value = math.isqrt(value)
    return value


def bucket(value: int) -> int:
    """Return the bucket of an integer of at most 63 bits.

    >>> [bucket(v) for v in (0, 1, 2, 3, 4, -4)]
    [0, 1, 17, 27, 33, -33]
    """
    return int(buckets(np.array([value], np.int64))[0])


def buckets(values: np.ndarray) -> np.ndarray:
    """Return the bucket of each integer, int64.

    A logarithm only proposes the nearest bound; the comparison with that bound as an integer decides, so its last bits,
    which differ between machines, do not matter.
    """
    sizes = np.abs(values)
    nearest = np.rint(np.log2(np.maximum(sizes, 1)) * PER_OCTAVE).astype(np.int64)
    found: np.ndarray = np.sign(values) * (nearest + (sizes > _bounds()[nearest]) + 1)
    return found


@cache
def _bounds() -> np.ndarray:
    # The largest integers lie nearest to a bound that int64 cannot hold.
    return np.array([*upper_bounds(), 2**63 - 1], dtype=np.int64)


def middle(buckets: np.ndarray) -> np.ndarray:
    """Return the geometric middle of each bucket, the value that it stands for: floats in the unit of the values.

    >>> middle(np.array([0, 17, -17])).round(2).tolist()
    [0.0, 1.96, -1.96]
    """
    size = np.abs(buckets)
    # Bucket 1 holds the value 1 alone.
    found: np.ndarray = np.sign(buckets) * np.where(size == 1, 1.0, np.exp2((size - 1.5) / PER_OCTAVE))
    return found


def quantile(histogram: list[Bin], q: float) -> float | None:
    """Return the nearest-rank ``q`` quantile in the histogram's unit, None for an empty histogram.

    It differs from that of the values themselves by at most `RELATIVE_ERROR` (2.2 %) of it.

    >>> round(quantile([{"bucket": bucket(1000), "count": 9}, {"bucket": bucket(64_000), "count": 1}], 0.5))
    1002
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile lies between 0 and 1; got {q}")
    total = sum(item["count"] for item in histogram)
    rank, seen = max(1, math.ceil(q * total)), 0
    for item in histogram:
        seen += item["count"]
        if seen >= rank:
            return float(middle(np.array(item["bucket"])))
    return None


def total(histogram: list[Bin]) -> int:
    """Return how many values the histogram holds."""
    return sum(item["count"] for item in histogram)
