"""Jaeger's storage model as JSON: protobuf JSON (base64 ids, RFC 3339 times) and batches of its Thrift form."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
import pyarrow as pa

from ..batch import Batch
from ..delimited import to_time_ns
from ..otlp.any_value import from_base64, plain_double
from ..source import Source
from ..span_rows import Row, gather, kind_and_status, micros, scalar_text
from .jaeger_json import parent_and_links

NAME: Final = "jaeger-model-json"
_VALUES: Final = ("vStr", "vBool", "vInt64", "vLong", "vFloat64", "vDouble", "vBinary")


def matches(head: bytes, file_name: str) -> bool:
    """Tell by ``operationName`` beside ids as this model writes them."""
    is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    return is_json and b'"operationName"' in head and (b'"traceId"' in head or b'"traceIdLow"' in head)


def read(source: Source) -> Iterator[Batch]:
    """Yield the spans; one that is malformed is dropped with its place."""
    return gather(source, (), _spans, lambda pair: _row(*pair))


def _spans(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each span with its process, which stands in it or beside the spans of a batch."""
    spans = value.get("spans") if isinstance(value, dict) else None
    for span in spans if isinstance(spans, list) else [value]:
        own = span.get("process") if isinstance(span, dict) else None
        yield span, own or (value.get("process") if isinstance(value, dict) else None)


def _row(span: Mapping[str, Any], process: Mapping[str, Any] | None) -> Row:
    is_thrift = "traceIdLow" in span
    tags = _tags(span.get("tags"))
    trace_id = _trace_id(span)
    references = [
        (str(ref.get("refType", "CHILD_OF")), _trace_id(ref), _span_id(ref["spanId"]))
        for ref in span.get("references") or ()
    ]
    parent, links = parent_and_links(trace_id, references)
    if parent is None and span.get("parentSpanId"):
        parent = _span_id(span["parentSpanId"])
    resource = _tags((process or {}).get("tags"))
    if service := (process or {}).get("serviceName"):
        resource["service.name"] = scalar_text(str(service))
    kind, status, message = kind_and_status(tags)
    return Row(
        trace_id=trace_id,
        span_id=_span_id(span["spanId"]),
        parent_span_id=parent,
        name=str(span.get("operationName") or ""),
        kind=kind,
        status=status,
        status_message=message,
        start_ns=int(span["startTime"]) * 1000 if is_thrift else _time_ns(span["startTime"]),
        duration_ns=int(span.get("duration") or 0) * 1000 if is_thrift else _duration_ns(span.get("duration") or "0s"),
        attributes=tags,
        resource=resource,
        events=[_event(log, is_thrift) for log in span.get("logs") or ()],
        links=links,
    )


def _trace_id(span: Mapping[str, Any]) -> str:
    if "traceIdLow" in span:
        return f"{int(span.get('traceIdHigh') or 0) % 2**64:016x}{int(span['traceIdLow']) % 2**64:016x}"
    return from_base64(span["traceId"]).hex()


def _span_id(value: object) -> str:
    return f"{value % 2**64:016x}" if isinstance(value, int) else from_base64(value).hex()


def _time_ns(text: Any) -> int:
    found = to_time_ns(pa.array([text], pa.string()))[0].as_py()
    if found is None:
        raise ValueError("the start is no RFC 3339 time")
    return int(found)


def _duration_ns(text: str) -> int:
    for unit, scale in (("ns", 1), ("us", 10**3), ("µs", 10**3), ("ms", 10**6), ("s", 10**9)):
        if text.endswith(unit):
            return round(float(text.removesuffix(unit)) * scale)
    raise ValueError("the duration has no unit")


def _tags(tags: Any) -> dict[str, str]:
    return {str(tag["key"]): _tag(tag) for tag in tags or ()}


def _tag(tag: Mapping[str, Any]) -> str:
    """Return the JSON text of the value; the model leaves a value out when it is empty, zero or false."""
    name = next((name for name in _VALUES if name in tag), None)
    if name is None:
        return {"BOOL": "false", "INT64": "0", "LONG": "0", "FLOAT64": "0.0", "DOUBLE": "0.0"}.get(
            str(tag.get("vType")), '""'
        )
    value = tag[name]
    match name:
        case "vInt64" | "vLong":
            return str(int(value))
        case "vFloat64" | "vDouble":
            return scalar_text(plain_double(float(value)))
        case "vBinary":
            return scalar_text({"bytesValue": base64.b64encode(from_base64(value)).decode()})
    return scalar_text(value)


def _event(log: Mapping[str, Any], is_thrift: bool) -> dict[str, object]:
    fields = _tags(log.get("fields"))
    name = fields.pop("event", '""')
    time_ns = micros(log["timestamp"]) if is_thrift else _time_ns(log["timestamp"])
    plain = {key: orjson.Fragment(text) for key, text in fields.items()}
    return {"time_ns": time_ns, "name": orjson.loads(name), "attributes": plain}
