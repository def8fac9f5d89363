"""The fast route for OTLP/JSON traces: pyarrow parses to nested Arrow arrays of a fixed schema.

The schema holds what the protocol's own libraries write. All else is left to the plain route: fields of no use here or
by their names in the .proto file, enums by name, numbers as text and text as numbers other than 64-bit integers, keys
given twice, values two levels deep. What pyarrow takes and JSON does not is looked for: bytes that are no UTF-8, NaN,
several objects in the place of one.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import json as pa_json

from .any_value import Malformed, json_text_of
from .nested import Leaves, Undecided, double_texts, fields, flattened
from .spans import RawSpans

_REQUEST: Final = re.compile(rb'\{\s*"resourceSpans"\s*:')
_TIME: Final = re.compile(rb'"startTimeUnixNano"\s*:\s*([0-9])?')
_INTEGER: Final = re.compile(rb'"intValue"\s*:\s*([-0-9])?')
_TEXT, _COUNT = pa.string(), pa.int64()
_WIDEST: Final = 20  # characters of a 64-bit integer


def is_trace_request(text: bytes) -> bool:
    """Tell whether a JSON text without space around it begins and ends as one that `gather` may decide."""
    return _REQUEST.match(text) is not None and text.endswith(b"}")


def gather(texts: Sequence[bytes]) -> RawSpans:
    """Return the spans of requests for which `is_trace_request` holds, as `spans.gather` does, or raise Undecided."""
    # A bracket, a line feed and a bracket stand side by side only between whole values: as many rows as texts mean that
    # each is one value. The first text being an object matters besides: pyarrow 26 crashes where it is null.
    block = b"\n".join([*texts, b""])
    time = pa.uint64() if _is_number(_TIME.search(block)) else _TEXT
    integer = pa.int64() if _is_number(_INTEGER.search(block)) else _TEXT
    try:
        table = pa_json.read_json(
            pa.BufferReader(block),
            pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            pa_json.ParseOptions(explicit_schema=_schema(time, integer), unexpected_field_behavior="error"),
        )
        table.validate(full=True)  # for UTF-8
    except pa.ArrowInvalid:
        raise Undecided from None
    if table.num_rows != len(texts):
        raise Undecided
    return flattened(table.column("resourceSpans").combine_chunks(), _LEAVES)


def _is_number(first: re.Match[bytes] | None) -> bool:
    """Tell by the first value whether integers of 64 bits are numbers here; most writers make them text."""
    return first is not None and first[1] is not None


@cache
def _schema(time: pa.DataType, integer: pa.DataType) -> pa.Schema:
    plain = {"stringValue": _TEXT, "boolValue": pa.bool_(), "intValue": integer, "doubleValue": pa.float64()}
    plain["bytesValue"] = _TEXT
    inner = _struct(plain)
    array = _struct({"values": pa.list_(inner)})
    pairs = _struct({"values": _list({"key": _TEXT, "value": inner})})
    attributes = _list({"key": _TEXT, "value": _struct(plain | {"arrayValue": array, "kvlistValue": pairs})})
    attributed = {"attributes": attributes, "droppedAttributesCount": _COUNT}
    event = {"timeUnixNano": time, "name": _TEXT} | attributed
    link = {"traceId": _TEXT, "spanId": _TEXT, "traceState": _TEXT, "flags": _COUNT} | attributed
    span = dict.fromkeys(("traceId", "spanId", "parentSpanId", "traceState", "name"), _TEXT) | attributed
    span |= {"kind": pa.int32(), "flags": _COUNT, "startTimeUnixNano": time, "endTimeUnixNano": time}
    span |= {"events": _list(event), "droppedEventsCount": _COUNT, "links": _list(link), "droppedLinksCount": _COUNT}
    span |= {"status": _struct({"message": _TEXT, "code": pa.int32()})}
    scope = _struct({"name": _TEXT, "version": _TEXT} | attributed)
    by_scope = {"scope": scope, "spans": _list(span), "schemaUrl": _TEXT}
    by_resource = {"resource": _struct(attributed), "scopeSpans": _list(by_scope), "schemaUrl": _TEXT}
    return pa.schema([("resourceSpans", _list(by_resource))])


def _struct(members: dict[str, pa.DataType]) -> pa.DataType:
    return pa.struct(list(members.items()))


def _list(members: dict[str, pa.DataType]) -> pa.DataType:
    return pa.list_(_struct(members))


def _ids(texts: pa.StringArray) -> pa.BinaryArray:
    texts = texts.fill_null("")
    offsets, content = _content(texts)
    if (np.diff(offsets) % 2).any():
        raise Undecided
    try:
        found = binascii.unhexlify(content.data)
    except binascii.Error:
        raise Undecided from None
    ends = ((offsets - offsets[0]) // 2).astype("i4")
    return pa.BinaryArray.from_buffers(pa.binary(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(found)])


def _times(column: pa.Array) -> pa.Array:
    if column.type == _TEXT:
        return _numbers(column.fill_null("0"), pa.uint64())
    return column.fill_null(0)


def _integers(column: pa.Array) -> pa.StringArray:
    numbers = _numbers(column, pa.int64()) if column.type == _TEXT else column
    return numbers.cast(_TEXT)


def _numbers(texts: pa.StringArray, kind: pa.DataType) -> pa.Array:
    """Return decimal texts as numbers; Arrow itself would take hex too, and zeros without end before a number."""
    offsets, content = _content(texts)
    is_digit = (content >= ord("0")) & (content <= ord("9"))
    if not (is_digit | (content == ord("-"))).all() or (np.diff(offsets) > _WIDEST).any():
        raise Undecided
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        raise Undecided from None


def _content(texts: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the offsets of texts and the bytes from the first to the last of them."""
    if not len(texts) or texts.buffers()[2] is None:
        return np.zeros(len(texts) + 1, "i4"), np.empty(0, "u1")
    offsets = np.frombuffer(texts.buffers()[1], "i4")[texts.offset : texts.offset + len(texts) + 1]
    return offsets, np.frombuffer(texts.buffers()[2], "u1")[offsets[0] : offsets[-1]]


def _doubles(column: pa.Array) -> pa.StringArray:
    _check_doubles(column)
    return double_texts(column)


def _check_doubles(column: pa.Array) -> None:
    """Raise Undecided for numbers that are none in JSON, and for -0, which is 0 unless written with a point."""
    numbers = column.drop_null().to_numpy(zero_copy_only=False)
    if not np.isfinite(numbers).all() or ((numbers == 0) & np.signbit(numbers)).any():
        raise Undecided


def _containers(name: str) -> Any:
    def texts(structs: pa.Array) -> pa.StringArray:
        items = structs.field("values").flatten()
        values = items if name == "arrayValue" else items.field("value")
        columns = fields(values)
        _check_doubles(columns["double_value"])
        given = np.zeros(len(values), np.uint8)
        for column in columns.values():
            given += column.is_valid().to_numpy(zero_copy_only=False)
        if (given > 1).any():
            raise Undecided  # the last value counts, and nothing tells which it is
        return _one_by_one(name, structs)

    return texts


def _one_by_one(name: str, column: pa.Array) -> pa.StringArray:
    try:
        return pa.array([json_text_of({name: value}) for value in column.to_pylist()], _TEXT)
    except Malformed:
        raise Undecided from None


_LEAVES: Final = Leaves(
    ids=_ids,
    times=_times,
    values={
        "bool_value": lambda column: column.cast(_TEXT),
        "int_value": _integers,
        "double_value": _doubles,
        "array_value": _containers("arrayValue"),
        "kvlist_value": _containers("kvlistValue"),
        "bytes_value": lambda column: _one_by_one("bytesValue", column),
    },
)
