"""Spans to OTLP, the inverse of decoding: what `decode_traces` makes of the result equals the table."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa
from google.protobuf.descriptor import FieldDescriptor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from hypocenter.errors import DecodeError
from hypocenter.semconv import RESOURCE_ATTRIBUTES, SPAN_ATTRIBUTES

from .any_value import fill, not_finite
from .decode import JSON
from .ids import TRACE_ID_BYTES, trace_state_of

_IDS = {"trace_id", "span_id", "parent_span_id"}
_WIDE = {FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64}
_Map = Sequence[tuple[str, str]] | None


def encode_traces(spans: pa.Table, content_type: str = JSON) -> bytes:
    """Return one ExportTraceServiceRequest: a line of OTLP/JSON, or protobuf for `PROTOBUF`.

    Rows keep their order; adjacent ones share a resource and scope where these are equal. A column that no attribute
    accounts for (tables of other formats) becomes an attribute by its newest name. 64-bit trace ids are padded with
    zeros.

    Raises
    ------
    DecodeError
        A span cannot be told in OTLP, named by its ids: these are not hex, it starts before 1970, or an attribute or
        event is not JSON.
    """
    request = ExportTraceServiceRequest()
    resource_spans = scope_spans = last_resource = last_scope = None
    for row in spans.to_pylist():
        try:
            resource = _completed(row["resource"], row, RESOURCE_ATTRIBUTES)
            if resource_spans is None or resource != last_resource:
                resource_spans, scope_spans, last_resource = request.resource_spans.add(), None, resource
                _add_all(resource_spans.resource.attributes, resource)
            if scope_spans is None or row["scope"] != last_scope:
                scope_spans, last_scope = resource_spans.scope_spans.add(), row["scope"]
                if row["scope"] is not None:
                    scope_spans.scope.name = row["scope"]
            _fill_span(scope_spans.spans.add(), row)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            place = f"span {row['trace_id']}/{row['span_id']}"
            raise DecodeError(row["source"], place, f"cannot be written as OTLP: {error}") from error
    if content_type == JSON:
        return orjson.dumps(_to_json(request), option=orjson.OPT_APPEND_NEWLINE)
    payload: bytes = request.SerializeToString()
    return payload


def _fill_span(span: Span, row: dict[str, Any]) -> None:
    span.trace_id = bytes.fromhex(row["trace_id"].rjust(2 * TRACE_ID_BYTES, "0"))
    span.span_id = bytes.fromhex(row["span_id"])
    span.parent_span_id = bytes.fromhex(row["parent_span_id"] or "")
    span.name = row["name"]
    span.kind = row["kind"]
    span.status.code = row["status"]
    span.status.message = row["status_message"] or ""
    span.start_time_unix_nano = row["start_ns"]
    span.end_time_unix_nano = row["start_ns"] + row["duration_ns"]
    span.trace_state = trace_state_of(row["adjusted_milli"])
    _add_all(span.attributes, _completed(row["attributes"], row, SPAN_ATTRIBUTES))
    for found in orjson.loads(row["events"] or "[]"):
        event = span.events.add(time_unix_nano=found["time_ns"], name=found["name"])
        for key, plain in found["attributes"].items():
            fill(event.attributes.add(key=key).value, plain)
    for link in row["links"] or ():
        span.links.add(trace_id=bytes.fromhex(link["trace_id"]), span_id=bytes.fromhex(link["span_id"]))


def _completed(attributes: _Map, row: dict[str, Any], columns: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Return the attributes with those added that only columns know."""
    found = list(attributes or ())
    known = {key for key, _ in found}
    missing = {names[0]: row[column] for column, names in columns.items() if known.isdisjoint(names)}
    return found + [(name, orjson.dumps(value).decode()) for name, value in missing.items() if value is not None]


def _add_all(attributes: Any, pairs: Sequence[tuple[str, str]]) -> None:
    for key, text in pairs:
        fill(attributes.add(key=key).value, orjson.loads(text))


def _to_json(message: Any) -> dict[str, object]:
    """Return a message as OTLP/JSON: protobuf's mapping, with ids in hex."""
    return {
        field.json_name: [_json_value(field, item) for item in value]
        if field.is_repeated
        else _json_value(field, value)
        for field, value in message.ListFields()
    }


def _json_value(field: FieldDescriptor, value: Any) -> object:
    if field.message_type is not None:
        return _to_json(value)
    if field.type in _WIDE:
        return str(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value.hex() if field.name in _IDS else base64.b64encode(value).decode()
    if field.type == FieldDescriptor.TYPE_DOUBLE and not math.isfinite(value):
        return not_finite(value)
    return value
