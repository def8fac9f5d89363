"""Bytes of any kind give a batch or a DecodeError, never another exception, a hang or memory without bound."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import Sample, check_batch, read_or_refuse, try_mutations
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_requests import to_json

from hypocenter.errors import DecodeError
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.otlp import JSON, PROTOBUF
from hypocenter.tracer.otlp.arrow import is_available
from hypocenter.tracer.otlp.decode import REQUESTS, decode, decode_protobuf
from hypocenter.tracer.reader import Reader
from hypocenter.tracer.readers import otlp_json, otlp_protobuf

ROUTES = {
    "traces-ptars": lambda payload: decode_protobuf("traces", [payload], "fuzz", route="ptars"),
    "traces-protobuf": lambda payload: decode_protobuf("traces", [payload], "fuzz", route="protobuf"),
    "metrics-protobuf": lambda payload: decode("metrics", payload, PROTOBUF, "fuzz"),
    "logs-protobuf": lambda payload: decode("logs", payload, PROTOBUF, "fuzz"),
    "traces-json": lambda payload: decode("traces", payload, JSON, "fuzz"),
    "metrics-json": lambda payload: decode("metrics", payload, JSON, "fuzz"),
    "logs-json": lambda payload: decode("logs", payload, JSON, "fuzz"),
}


@cache
def seed(signal: str, encoding: str) -> bytes:
    """Return a request in which every kind of field occurs."""
    attributes = [
        {"key": "service.name", "value": {"string_value": "cart"}},
        {"key": "n", "value": {"int_value": 7}},
        {"key": "d", "value": {"double_value": 1.5}},
        {"key": "l", "value": {"array_value": {"values": [{"bool_value": True}, {"bytes_value": b"\1"}]}}},
        {"key": "m", "value": {"kvlist_value": {"values": [{"key": "k", "value": {"string_value": "v"}}]}}},
    ]
    ids = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    now = 1_700_000_000 * 10**9
    resource, scope = {"attributes": attributes}, {"name": "library"}
    if signal == "traces":
        span = ids | {"parent_span_id": b"p" * 8, "trace_state": "ot=th:8", "name": "GET", "kind": 2}
        span |= {"start_time_unix_nano": now, "end_time_unix_nano": now + 5, "attributes": attributes}
        span |= {"events": [{"time_unix_nano": now, "name": "e", "attributes": attributes}], "links": [ids]}
        scoped = {"scope": scope, "spans": [span | {"status": {"code": 2, "message": "no"}}]}
        request = ExportTraceServiceRequest(resource_spans=[{"resource": resource, "scope_spans": [scoped]}])
    elif signal == "logs":
        record = ids | {"time_unix_nano": now, "severity_number": 9, "body": {"string_value": "text"}}
        scoped = {"scope": scope, "log_records": [record | {"attributes": attributes}]}
        request = ExportLogsServiceRequest(resource_logs=[{"resource": resource, "scope_logs": [scoped]}])
    else:
        point = {"time_unix_nano": now, "attributes": attributes}
        exemplar = ids | {"as_double": 1.0, "time_unix_nano": now, "filtered_attributes": attributes}
        buckets = {"offset": 1, "bucket_counts": [1, 2]}
        streams = [
            {"name": "g", "gauge": {"data_points": [point | {"as_double": 1.5, "exemplars": [exemplar]}]}},
            {"name": "s", "sum": {"data_points": [point | {"as_int": 2}], "is_monotonic": True}},
            {"name": "h", "histogram": {"data_points": [point | {"count": 1, "explicit_bounds": [1.0]}]}},
            {"name": "e", "exponential_histogram": {"data_points": [point | {"scale": 2, "positive": buckets}]}},
            {"name": "q", "summary": {"data_points": [point | {"quantile_values": [{"quantile": 0.5}]}]}},
        ]
        scoped = {"scope": scope, "metrics": streams}
        request = ExportMetricsServiceRequest(resource_metrics=[{"resource": resource, "scope_metrics": [scoped]}])
    return to_json(request) if encoding == "json" else request.SerializeToString()


def batch_or_error(route: Callable[[bytes], Batch], payload: bytes) -> None:
    with suppress(DecodeError):
        check_batch(route(payload))


needs_ptars = pytest.mark.skipif(not is_available(), reason="the extra [fast] is not installed")
routes = [pytest.param(name, marks=needs_ptars if name.endswith("ptars") else ()) for name in ROUTES]


@pytest.mark.parametrize("route", routes)
def test_route_refuses_or_decodes_any_mutation(route: str) -> None:
    signal, _, encoding = route.partition("-")
    request = Sample("request", seed(signal, encoding))
    try_mutations(route, [request], range(5000), lambda _, payload: batch_or_error(ROUTES[route], payload))


@pytest.mark.parametrize("route", routes)
@given(raw=st.binary(max_size=40))
@settings(max_examples=200)
def test_route_refuses_or_decodes_any_bytes(route: str, raw: bytes) -> None:
    batch_or_error(ROUTES[route], raw)


@needs_ptars
def test_ptars_refuses_what_the_protobuf_library_refuses() -> None:
    def compare(_: str, payload: bytes) -> None:
        outcomes = []
        for route in ("traces-ptars", "traces-protobuf"):
            try:
                batch = ROUTES[route](payload)
                outcomes.append(repr((batch.table("spans").to_pylist(), batch.tally)))
            except DecodeError:
                outcomes.append("refused")
        assert outcomes[0] == outcomes[1]

    try_mutations("ptars", [Sample("request", seed("traces", "protobuf"))], range(5000, 6000), compare)


@needs_ptars
@pytest.mark.parametrize(("place", "tag"), [(40, 139), (56, 171), (252, 59)])
def test_group_that_is_never_closed_is_refused_by_every_route(place: int, tag: int) -> None:
    payload = bytearray(seed("traces", "protobuf"))
    payload[place] = tag
    for route in ("traces-ptars", "traces-protobuf"):
        with pytest.raises(DecodeError, match="expected a protobuf message"):
            ROUTES[route](bytes(payload))


@pytest.mark.parametrize("reader", [otlp_json, otlp_protobuf], ids=lambda reader: reader.NAME)
def test_reader_refuses_or_reads_mutations_of_any_framing(reader: Reader) -> None:
    one = seed("traces", "json" if reader is otlp_json else "protobuf")
    varint = bytes([len(one) & 127 | 128, len(one) >> 7])
    framings = [one, one + b"\n" + one, len(one).to_bytes(4, "big") + one, varint + one]
    files = [Sample("file", content) for content in framings]
    attempt = partial(read_or_refuse, reader)
    try_mutations(f"{reader.NAME}-framed", files, range(2000), attempt)


@pytest.mark.parametrize("route", routes)
@pytest.mark.parametrize("kind", ["array", "kvlist"])
def test_value_nested_too_deep_is_refused_and_the_depth_below_is_not(route: str, kind: str) -> None:
    signal, _, encoding = route.partition("-")
    if encoding == "json":
        # orjson itself refuses more than 1,024 brackets
        refused, taken = (json_nested(signal, depth, kind) for depth in (200, 29))
    else:
        refused, taken = (wire_nested(signal, depth, kind) for depth in (5000, 29))
    with pytest.raises(DecodeError):
        ROUTES[route](refused)
    ROUTES[route](taken)


@pytest.mark.parametrize("route", routes)
def test_large_resource_repeated_on_many_rows_is_refused(route: str) -> None:
    signal, _, encoding = route.partition("-")
    text = "x" * 2**20
    if encoding == "json":
        request = orjson.loads(seed(signal, "json"))
        (resource,) = next(iter(request.values()))
        resource["resource"] = {"attributes": [{"key": "k", "value": {"stringValue": text}}]}
        scoped = next(value for key, value in resource.items() if key.startswith("scope"))[0]
        (items,) = (value for key, value in scoped.items() if key != "scope")
        if signal == "metrics":
            points = items[0]["gauge"]["data_points" if "data_points" in items[0]["gauge"] else "dataPoints"]
            points[:] = [points[0] | {"attributes": [{"key": str(i)}]} for i in range(1100)]
        else:
            items *= 1100
        payload = orjson.dumps(request)
    else:
        message = REQUESTS[signal].FromString(seed(signal, encoding))
        (resource,) = message.ListFields()[0][1]
        resource.resource.attributes.add(key="k").value.string_value = text
        scoped = resource.ListFields()[1][1][0]
        items = scoped.ListFields()[1][1]
        if signal == "metrics":
            points = items[0].gauge.data_points
            for number in range(1100):
                points.add(time_unix_nano=5).attributes.add(key=str(number))
        else:
            items.extend([items[0]] * 1100)
        payload = message.SerializeToString()
    with pytest.raises(DecodeError, match="more than 1 GiB"):
        ROUTES[route](payload)


def json_nested(signal: str, depth: int, kind: str) -> bytes:
    """Return a request with one resource attribute nested so deep that no library would write it."""
    opening, closing = (b'{"%sValue":{"values":[' % kind.encode(), b"]}}")
    if kind == "kvlist":
        opening, closing = opening + b'{"key":"k","value":', b"}" + closing
    attribute = b'{"key":"deep","value":' + opening * depth + b'{"intValue":"1"}' + closing * depth + b"},"
    return seed(signal, "json").replace(b'"attributes":[', b'"attributes":[' + attribute, 1)


def wire_nested(signal: str, depth: int, kind: str) -> bytes:
    """Return what `json_nested` does in protobuf."""
    value = b"\x18\x01"
    for _ in range(depth):
        if kind == "array":
            value = _field(0x2A, _field(0x0A, value))
        else:
            value = _field(0x32, _field(0x0A, _field(0x0A, b"k") + _field(0x12, value)))
    resource = _field(0x0A, _field(0x0A, b"deep") + _field(0x12, value))
    return _field(0x0A, _field(0x0A, resource)) + seed(signal, "protobuf")


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + _varint_bytes(len(content)) + content


def _varint_bytes(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])
