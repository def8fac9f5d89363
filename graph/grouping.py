"""Sums by key: rows of a table that share their keys become one, counts and histograms added exactly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from . import histogram

Ints = np.ndarray
# Values of a histogram: the rows they belong to, their buckets, and how many of each.
Entries = tuple[np.ndarray, np.ndarray, np.ndarray]


def group(keys: Mapping[str, pa.Array | pa.ChunkedArray]) -> tuple[Ints, dict[str, pa.Array]]:
    """Return the group of each row, and each key by group; groups are sorted by their keys, nulls last."""
    coded = {name: _codes(column) for name, column in keys.items()}
    groups = np.zeros(len(next(iter(coded.values()))[0]), np.int64)
    size = 1
    for codes, values in coded.values():
        if size * (len(values) + 1) >= 2**62:
            groups, distinct = pd.factorize(groups, sort=True)
            size = len(distinct)
        groups, size = groups * (len(values) + 1) + codes, size * (len(values) + 1)
    numbers, distinct = pd.factorize(groups, sort=True)
    example = np.empty(len(distinct), np.int64)
    example[numbers] = np.arange(len(numbers))
    return numbers, {
        name: values.take(pa.array(codes[example], mask=codes[example] == len(values)))
        for name, (codes, values) in coded.items()
    }


def _codes(column: pa.Array | pa.ChunkedArray) -> tuple[Ints, pa.Array]:
    """Return a number per row in the order of the values, and the values by number; null is the number after all."""
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.dictionary
    order = pc.sort_indices(values).to_numpy()
    place = np.empty(len(order) + 1, np.int64)
    place[order] = np.arange(len(order))
    place[-1] = len(order)
    return place[column.indices.fill_null(len(order)).to_numpy(zero_copy_only=False)], values.take(pa.array(order))


def sums(groups: Ints, size: int, values: np.ndarray) -> pa.Array:
    """Return the sum of integers or flags by group, exactly."""
    if values.dtype == bool:
        return pa.array(np.bincount(groups[values], minlength=size))
    added = np.zeros(size, np.int64)
    np.add.at(added, groups, values)
    return pa.array(added)


def histograms(groups: Ints, size: int, entries: Entries) -> pa.Array:
    """Return a histogram by group of entries that name their group's row."""
    row, bucket, count = entries
    span = 2 * histogram.MAX_BUCKET + 1
    places, at = np.unique(groups[row] * span + (bucket + histogram.MAX_BUCKET), return_inverse=True)
    counts = np.zeros(len(places), np.int64)
    np.add.at(counts, at, count)
    return _lists(places, counts, size, span)


def histograms_of(groups: Ints, size: int, values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a histogram by group of integers, nulls left out."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    known = values.is_valid().to_numpy(zero_copy_only=False)
    span = 2 * histogram.MAX_BUCKET + 1
    buckets = histogram.buckets(values.drop_null().to_numpy(zero_copy_only=False))
    places, counts = np.unique(groups[known] * span + (buckets + histogram.MAX_BUCKET), return_counts=True)
    return _lists(places, counts, size, span)


def _lists(places: Ints, counts: Ints, size: int, span: int) -> pa.Array:
    offsets = np.searchsorted(places, np.arange(size + 1) * span).astype(np.int32)
    bins = pa.StructArray.from_arrays(
        [pa.array((places % span - histogram.MAX_BUCKET).astype(np.int16)), pa.array(counts.astype(np.int64))],
        fields=list(histogram.TYPE.value_type),
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
