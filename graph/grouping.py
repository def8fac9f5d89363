"""Sums by key: rows of a table that share their keys become one, counts and histograms added exactly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from . import histogram
from .ordering import runs

Ints = np.ndarray
# Values of a histogram: the rows they belong to, their buckets, and how many of each.
Entries = tuple[np.ndarray, np.ndarray, np.ndarray]


def group(keys: Mapping[str, pa.Array | pa.ChunkedArray]) -> tuple[Ints, dict[str, pa.Array]]:
    """Return the group of each row, and each key by group; groups are sorted by their keys, nulls last."""
    coded = {name: codes(column) for name, column in keys.items()}
    groups = np.zeros(len(next(iter(coded.values()))[0]), np.int64)
    size = 1
    for numbers, values in coded.values():
        if size * (len(values) + 1) >= 2**62:
            groups, distinct = pd.factorize(groups, sort=True)
            size = len(distinct)
        groups, size = groups * (len(values) + 1) + numbers, size * (len(values) + 1)
    of, distinct = pd.factorize(groups, sort=True)
    example = np.empty(len(distinct), np.int64)
    example[of] = np.arange(len(of))
    return of, {
        name: values.take(pa.array(numbers[example], mask=numbers[example] == len(values)))
        for name, (numbers, values) in coded.items()
    }


def codes(column: pa.Array | pa.ChunkedArray) -> tuple[Ints, pa.Array]:
    """Return a number per row in the order of the values, and the values by number; null is the number after all."""
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.dictionary
    numbers: Ints = column.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    if column.type.ordered:
        return numbers, values
    order = pc.sort_indices(values).to_numpy()
    place = np.empty(len(order) + 1, np.int64)
    place[order] = np.arange(len(order))
    place[-1] = len(order)
    return place[numbers], values.take(pa.array(order))


def sums(groups: Ints, size: int, values: Ints) -> pa.Array:
    """Return the sum of integers by group, exactly."""
    added = np.zeros(size, np.int64)
    np.add.at(added, groups, values)
    return pa.array(added)


def histograms(groups: Ints, size: int, entries: Entries) -> pa.Array:
    """Return a histogram by group of entries that name their group's row."""
    row, bucket, count = entries
    return _lists(groups[row], bucket, size, count)


def histograms_of(groups: Ints, size: int, buckets: Ints) -> pa.Array:
    """Return a histogram by group of values, given the bucket of each."""
    return _lists(groups, buckets, size)


def _lists(groups: Ints, buckets: Ints, size: int, count: Ints | None = None) -> pa.Array:
    """Return the histograms of buckets, each ``count`` times (None: once)."""
    low, high = int(buckets.min(initial=0)), int(buckets.max(initial=0))
    width = high - low + 1
    places = groups * width + (buckets - low)
    if size * width < 2**32:
        # Half as wide is sorted twice as fast.
        places = places.astype(np.uint32)
    if count is None:
        ranked = np.sort(places)
        first = runs(ranked)
        counts = np.diff(first, append=len(ranked))
    else:
        order = np.argsort(places, kind="stable")
        ranked = places[order]
        first = runs(ranked)
        counts = np.add.reduceat(count[order], first) if len(first) else first
    occupied = ranked[first].astype(np.int64)
    offsets = np.searchsorted(occupied, np.arange(size + 1) * width).astype(np.int32)
    bins = pa.StructArray.from_arrays(
        [pa.array((occupied % width + low).astype(np.int16)), pa.array(counts)], fields=list(histogram.TYPE.value_type)
    )
    return pa.ListArray.from_arrays(pa.array(offsets), bins, type=histogram.TYPE)


def entries(column: pa.ChunkedArray) -> Entries:
    """Return the entries of a column of histograms."""
    whole = column.combine_chunks()
    bins = whole.flatten()
    return (
        pc.list_parent_indices(whole).to_numpy(),
        bins.field("bucket").to_numpy().astype(np.int64),
        bins.field("count").to_numpy(),
    )
