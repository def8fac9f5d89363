"""Nested columns as JSON text, for formats whose cells hold nothing else."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from .schema import ATTRIBUTES

_ENTRIES = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
_NULL = "null"


def to_json_text(array: pa.Array) -> pa.Array:
    """Return each value as JSON text; null stays null.

    Attributes become objects, their values being JSON already; lists, structs, texts and numbers become themselves.

    >>> to_json_text(pa.array([[{"bucket": 3, "count": 2}], [], None])).to_pylist()
    ['[{"bucket":3,"count":2}]', '[]', None]
    >>> to_json_text(pa.array([[("http.route", '"/cart"'), ("retries", "2")]], ATTRIBUTES)).to_pylist()
    ['{"http.route":"/cart","retries":2}']
    """
    kind = array.type
    if kind == ATTRIBUTES:
        lists = array.cast(_ENTRIES)
        keys, values = lists.flatten().flatten()
        pairs = pc.binary_join_element_wise(_quoted(keys), pc.fill_null(values, _NULL), ":")
        return _enclosed(lists, pairs, "{", "}")
    if pt.is_list(kind):
        return _enclosed(array, pc.fill_null(to_json_text(array.flatten()), _NULL), "[", "]")
    if pt.is_struct(kind):
        cells: list[pa.Array | str] = []
        for field, values in zip(kind, array.flatten(), strict=True):
            cells += ["," if cells else "{", f"{orjson.dumps(field.name).decode()}:"]
            cells.append(pc.fill_null(to_json_text(values), _NULL))
        text = pc.binary_join_element_wise(*cells, "}", "")
        return pc.if_else(pc.is_valid(array), text, pa.scalar(None, pa.string()))
    return _quoted(array) if pt.is_string(kind) else array.cast(pa.string())


def _quoted(texts: pa.Array) -> pa.Array:
    """Return texts as JSON strings; each distinct one is written once."""
    encoded = texts.dictionary_encode()
    distinct = [orjson.dumps(text).decode() for text in encoded.dictionary.to_pylist()]
    return pa.array(distinct, pa.string()).take(encoded.indices)


def _enclosed(lists: pa.Array, items: pa.Array, opening: str, closing: str) -> pa.Array:
    """Return the texts of the items, which lie one after the other, joined for each of the lists."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(ends), items), ",")
    text = pc.binary_join_element_wise(opening, joined, closing, "")
    return pc.if_else(pc.is_valid(lists), text, pa.scalar(None, pa.string()))
