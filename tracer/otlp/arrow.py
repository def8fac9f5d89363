"""The fast route for protobuf traces: ptars decodes to nested Arrow arrays, which are flattened without any loop.

ptars (the extra ``fast``) leaves the values inside of arrays and maps serialized; only those are parsed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from .any_value import plain_double, text_of
from .attributes import Attributes, offsets_of, quoted, replaced
from .spans import FIELDS, RawSpans


class Undecided(Exception):
    """ptars refuses the bytes, or does not tell enough about them: the protobuf library has the last word."""


def is_available() -> bool:
    """Tell whether ptars is installed."""
    return _handler() is not None


@cache
def _handler() -> Any:
    try:
        from ptars import HandlerPool
    except ImportError:
        return None
    message = ExportTraceServiceRequest.DESCRIPTOR
    return HandlerPool([message.file]).get_for_message(message)


def gather(payloads: Sequence[bytes]) -> RawSpans:
    """Return the spans of serialized requests, as `spans.gather` does; raises protobuf's DecodeError or Undecided."""
    requests = _decoded(payloads)
    resource_spans, _ = _items(requests.column("resource_spans"))
    scope_spans, scope_offsets = _items(resource_spans["scope_spans"])
    spans, span_offsets = _items(scope_spans["spans"])
    scope = np.repeat(np.arange(len(span_offsets) - 1), np.diff(span_offsets))
    resource = np.repeat(np.arange(len(scope_offsets) - 1), np.diff(scope_offsets))[scope]
    status = _fields(spans["status"])
    columns = {
        **spans,
        "status": status["code"].fill_null(0),
        "status_message": status["message"].fill_null(""),
        "start": spans["start_time_unix_nano"],
        "end": spans["end_time_unix_nano"],
        "resource": pa.array(resource, pa.int32()),
        "scope": pa.array(scope, pa.int32()),
    }
    events, event_offsets = _items(spans["events"])
    links, link_offsets = _items(spans["links"])
    return RawSpans(
        fields=pa.Table.from_arrays([columns[name] for name in FIELDS.names], schema=FIELDS),
        attributes=_attributes(spans["attributes"]),
        resources=_attributes(_fields(resource_spans["resource"])["attributes"]),
        scopes=_fields(scope_spans["scope"])["name"].fill_null(""),
        event_offsets=event_offsets,
        event_times=events["time_unix_nano"],
        event_names=events["name"],
        event_attributes=_attributes(events["attributes"]),
        link_offsets=link_offsets,
        link_trace_ids=links["trace_id"],
        link_span_ids=links["span_id"],
    )


def _decoded(payloads: Sequence[bytes]) -> pa.RecordBatch:
    # ptars takes some corrupt bytes, e.g. a group that is never closed, and leaves out what follows without a word.
    # Parsing in C costs about a seventh of this route and refuses them.
    for payload in payloads:
        ExportTraceServiceRequest.FromString(payload)
    try:
        return _handler().list_to_record_batch(list(payloads))
    except ValueError:
        raise Undecided from None
    except BaseException as error:
        # The Rust code has panicked on bytes that were cut inside of a varint, and a panic is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise Undecided from None


def _fields(structs: pa.StructArray) -> dict[str, pa.Array]:
    """Return the fields of structs by name; those of a null struct are null."""
    return dict(zip((field.name for field in structs.type), structs.flatten(), strict=True))


def _items(lists: pa.ListArray) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Return the fields of all items of lists of structs, and the offsets of each list; a null list is empty."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return _fields(lists.flatten()), offsets_of(lengths)


def _attributes(lists: pa.ListArray) -> Attributes:
    pairs, offsets = _items(lists)
    return Attributes(offsets, pairs["key"], _texts(pairs["value"]))


def _texts(values: pa.StructArray) -> pa.StringArray:
    """Return the JSON text of each AnyValue: strings are most of them, the other types are put in their places."""
    by_type = _fields(values)
    given = {name: np.flatnonzero(column.is_valid()) for name, column in by_type.items() if len(column)}
    result = quoted(by_type["string_value"])
    rows, texts = [], []
    for name, at in given.items():
        if name != "string_value" and len(at):
            rows.append(at)
            texts.append(_TEXTS[name](by_type[name].take(pa.array(at))))
    if rows:
        result = replaced(result, np.concatenate(rows), pa.concat_arrays(texts))
    if sum(map(len, given.values())) != len(result) - result.null_count:
        raise Undecided  # some AnyValue has several values: the last one counts, and ptars does not tell which it is
    return result.fill_null("null")


def _doubles(numbers: pa.Array) -> pa.StringArray:
    """Return doubles as orjson writes them, all in one call; what JSON cannot say is null there."""
    plain = numbers.to_numpy(zero_copy_only=False)
    texts = orjson.dumps(plain, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode().split(",")
    for row in np.flatnonzero(~np.isfinite(plain)):
        texts[row] = orjson.dumps(plain_double(float(plain[row]))).decode()
    return pa.array(texts, pa.string())


def _containers(field: str) -> Callable[[pa.Array], pa.StringArray]:
    def texts(structs: pa.Array) -> pa.StringArray:
        found = []
        for items in structs.field("values").to_pylist():
            value = AnyValue()
            container = getattr(value, field)
            container.SetInParent()
            for item in items:
                container.values.add().MergeFromString(item)
            found.append(text_of(value))
        return pa.array(found, pa.string())

    return texts


_TEXTS: Final[dict[str, Callable[[pa.Array], pa.StringArray]]] = {
    "bool_value": lambda column: column.cast(pa.string()),
    "int_value": lambda column: column.cast(pa.string()),
    "double_value": _doubles,
    "array_value": _containers("array_value"),
    "kvlist_value": _containers("kvlist_value"),
    "bytes_value": lambda column: pa.array([text_of(AnyValue(bytes_value=b)) for b in column.to_pylist()], pa.string()),
    "string_value_strindex": lambda column: pa.array(["null"] * len(column)),  # a dictionary that only profiles have
}
