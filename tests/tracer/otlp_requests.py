"""Generated OTLP requests, and the OTLP/JSON text of a request message as protobuf's own library would write it."""

from __future__ import annotations

from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from hypocenter.semconv import RESOURCE_ATTRIBUTES, SPAN_ATTRIBUTES

_IDS = ("traceId", "spanId", "parentSpanId")
_NAMES = [name for names in (*RESOURCE_ATTRIBUTES.values(), *SPAN_ATTRIBUTES.values()) for name in names]

texts = st.text(max_size=8) | st.sampled_from(["", "cart", 'a "quoted" \\ line\n', "200", "null", "é\u2028"])
doubles = st.floats() | st.sampled_from([0.0, -0.0, 1.0, 1e16, 5e-324, float("nan"), float("inf"), float("-inf")])
integers = st.integers(-(2**63), 2**63 - 1)
small = st.integers(-1, 6)


def mostly(usual: st.SearchStrategy[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
    """Return what is usual in nine of ten cases."""
    return st.integers(0, 9).flatmap(lambda number: usual if number else st.sampled_from(odd))


def ids(width: int) -> st.SearchStrategy[bytes]:
    """Return ids of ``width`` bytes, rarely broken ones."""
    right = st.integers(1, 2 ** (8 * width) - 1).map(lambda number: number.to_bytes(width, "big"))
    return mostly(right, [b"", bytes(width), b"\0", b"abc"])


times = mostly(st.integers(1_700_000_000 * 10**9, 1_700_000_009 * 10**9), [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
trace_ids, span_ids = ids(16), ids(8)
trace_states = st.sampled_from(
    ["", "a=b", "ot=th:8", "x=1,ot=rv:0123;th:fffffffffffff8", "ot=th:zz", "ot=th:ffffffffffffff"]
)


def message(kind: Any, /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return messages in which each field is drawn; in one of three a field is left out."""
    names = sorted(fields)

    def build(drawn: tuple[dict[str, Any], int]) -> Any:
        given, absent = drawn
        left_out = names[absent] if absent < len(names) else None
        return kind(**{name: value for name, value in given.items() if name != left_out})

    return st.tuples(st.fixed_dictionaries(fields), st.integers(0, 3 * len(names))).map(build)


def _containers(inner: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    arrays = st.lists(inner, max_size=3).map(lambda items: AnyValue(array_value=ArrayValue(values=items)))
    pairs = st.lists(st.builds(KeyValue, key=texts | st.just("bytesValue"), value=inner), max_size=3)
    return arrays | pairs.map(lambda items: AnyValue(kvlist_value=KeyValueList(values=items)))


any_values = st.recursive(
    st.one_of(
        st.builds(AnyValue, string_value=texts),
        st.builds(AnyValue, int_value=integers | st.sampled_from([200, 503])),
        st.builds(AnyValue, double_value=doubles),
        st.builds(AnyValue, bool_value=st.booleans()),
        st.builds(AnyValue, bytes_value=st.binary(max_size=4)),
        st.just(AnyValue()),
    ),
    _containers,
    max_leaves=3,
)
attributes = st.lists(st.builds(KeyValue, key=st.sampled_from(_NAMES) | texts, value=any_values), max_size=3)
resources = message(Resource, attributes=attributes)
scopes = message(InstrumentationScope, name=texts, version=texts, attributes=attributes)

spans = message(
    Span,
    trace_id=trace_ids,
    span_id=span_ids,
    parent_span_id=span_ids,
    trace_state=trace_states,
    name=texts,
    kind=small,
    start_time_unix_nano=times,
    end_time_unix_nano=times,
    attributes=attributes,
    events=st.lists(message(Span.Event, time_unix_nano=times, name=texts, attributes=attributes), max_size=2),
    links=st.lists(message(Span.Link, trace_id=trace_ids, span_id=span_ids, attributes=attributes), max_size=2),
    status=message(Status, code=small, message=texts),
    flags=st.integers(0, 2**32 - 1),
)
records = message(
    LogRecord,
    time_unix_nano=times,
    observed_time_unix_nano=times,
    severity_number=st.integers(0, 26),
    severity_text=st.sampled_from(["", "ERROR", "WARN3", "loud"]),
    body=any_values,
    attributes=attributes,
    trace_id=trace_ids,
    span_id=span_ids,
    event_name=texts,
)
_exemplars = st.lists(
    message(
        metrics.Exemplar,
        time_unix_nano=times,
        as_double=doubles,
        trace_id=trace_ids,
        span_id=span_ids,
        filtered_attributes=attributes,
    ),
    max_size=2,
)
_point = {"time_unix_nano": times, "start_time_unix_nano": times, "attributes": attributes, "flags": st.integers(0, 3)}
_counts = st.lists(st.integers(0, 2**64 - 1), max_size=3)
_numbers = st.lists(
    message(metrics.NumberDataPoint, **_point, as_double=doubles, exemplars=_exemplars)
    | message(metrics.NumberDataPoint, **_point, as_int=integers),
    min_size=1,
    max_size=3,
)
_histograms = message(
    metrics.HistogramDataPoint,
    **_point,
    count=st.integers(0, 2**64 - 1),
    sum=doubles,
    min=doubles,
    max=doubles,
    bucket_counts=_counts,
    explicit_bounds=st.lists(doubles, max_size=3),
    exemplars=_exemplars,
)
_buckets = message(metrics.ExponentialHistogramDataPoint.Buckets, offset=st.integers(-9, 9), bucket_counts=_counts)
_exponential = message(
    metrics.ExponentialHistogramDataPoint,
    **_point,
    count=st.integers(0, 9),
    sum=doubles,
    scale=st.integers(-10, 20),
    zero_count=st.integers(0, 9),
    zero_threshold=doubles,
    positive=_buckets,
    negative=_buckets,
    min=doubles,
    exemplars=_exemplars,
)
_quantile = message(metrics.SummaryDataPoint.ValueAtQuantile, quantile=doubles, value=doubles)
_summaries = message(metrics.SummaryDataPoint, **_point, sum=doubles, quantile_values=st.lists(_quantile, max_size=2))
_temporality = st.integers(0, 2)
_name = {"name": texts, "unit": texts, "description": texts}
metric_streams = st.one_of(
    message(metrics.Metric, **_name),
    message(metrics.Metric, **_name, gauge=message(metrics.Gauge, data_points=_numbers)),
    message(
        metrics.Metric,
        **_name,
        sum=message(
            metrics.Sum, data_points=_numbers, aggregation_temporality=_temporality, is_monotonic=st.booleans()
        ),
    ),
    message(
        metrics.Metric,
        **_name,
        histogram=message(
            metrics.Histogram,
            data_points=st.lists(_histograms, min_size=1, max_size=2),
            aggregation_temporality=_temporality,
        ),
    ),
    message(
        metrics.Metric,
        **_name,
        exponential_histogram=message(
            metrics.ExponentialHistogram,
            data_points=st.lists(_exponential, min_size=1, max_size=2),
            aggregation_temporality=_temporality,
        ),
    ),
    message(
        metrics.Metric,
        **_name,
        summary=message(metrics.Summary, data_points=st.lists(_summaries, min_size=1, max_size=2)),
    ),
)


def _request(kind: Any, by_resource: Any, by_scope: Any, field: str, items: st.SearchStrategy[Any]) -> Any:
    signal = {"spans": "spans", "metrics": "metrics", "log_records": "logs"}[field]
    scoped = message(by_scope, scope=scopes, **{field: st.lists(items, min_size=1, max_size=3)})
    grouped = message(by_resource, resource=resources, **{f"scope_{signal}": st.lists(scoped, min_size=1, max_size=2)})
    return message(kind, **{f"resource_{signal}": st.lists(grouped, min_size=1, max_size=2)})


requests = {
    "traces": _request(ExportTraceServiceRequest, ResourceSpans, ScopeSpans, "spans", spans),
    "metrics": _request(
        ExportMetricsServiceRequest, metrics.ResourceMetrics, metrics.ScopeMetrics, "metrics", metric_streams
    ),
    "logs": _request(ExportLogsServiceRequest, ResourceLogs, ScopeLogs, "log_records", records),
}


def to_json(request: Message, *, snake_case: bool = False, names: bool = False) -> bytes:
    """Return OTLP/JSON of a request: protobuf's JSON with the ids in hex, enums as numbers or ``names``."""
    plain = MessageToDict(request, preserving_proto_field_name=snake_case, use_integers_for_enums=not names)
    return orjson.dumps(_with_hex_ids(plain, request))


def _with_hex_ids(plain: Any, message: Any) -> Any:
    """Return the tree with ids replaced from the message that it was made of."""
    for field, value in message.ListFields():
        for key in (field.name, field.json_name):
            if key not in plain:
                continue
            if field.name in ("trace_id", "span_id", "parent_span_id"):
                plain[key] = value.hex()
            elif field.message_type is not None and field.message_type.name not in ("KeyValue", "AnyValue"):
                parts = zip(plain[key], value, strict=True) if field.is_repeated else [(plain[key], value)]
                for inner, inner_message in parts:
                    _with_hex_ids(inner, inner_message)
    return plain
