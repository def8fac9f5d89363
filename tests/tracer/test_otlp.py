"""One request of each signal, as the examples of the protocol give them, and what becomes of broken items."""

from __future__ import annotations

import orjson
import pytest

from hypocenter.errors import DecodeError
from hypocenter.tracer.otlp import JSON, PROTOBUF, decode_traces


def traces(*spans: dict[str, object], resource: dict[str, str] | None = None) -> bytes:
    attributes = [{"key": k, "value": {"stringValue": v}} for k, v in (resource or {"service.name": "web"}).items()]
    request = {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": list(spans)}]}]}
    return orjson.dumps(request)


def span(**fields: object) -> dict[str, object]:
    plain = {"traceId": "5B" * 16, "spanId": "ee" * 8, "startTimeUnixNano": "100", "endTimeUnixNano": "350"}
    return plain | fields


def test_span_without_usable_ids_or_time_is_dropped_under_its_reason() -> None:
    broken = [
        span(traceId=""),
        span(traceId="0" * 32),
        span(traceId="not hex"),
        span(spanId="ee" * 16),
        span(startTimeUnixNano=0),
        span(endTimeUnixNano=str(2**63)),
    ]
    batch = decode_traces(traces(*broken, span()), JSON, "file")
    assert batch.table("spans").select(["trace_id", "span_id"]).to_pylist() == [
        {"trace_id": "5b" * 16, "span_id": "ee" * 8}
    ]
    assert batch.tally.dropped == {
        "span without a valid trace id": 3,
        "span without a valid span id": 1,
        "span without a start time": 1,
        "span with a time after the year 2262": 1,
    }
    assert batch.tally.problems == [
        "file: span 1: span without a valid trace id",
        "file: span 4: span without a valid span id",
        "file: span 5: span without a start time",
        "file: span 6: span with a time after the year 2262",
    ]


def test_repairs_are_counted() -> None:
    wrong = span(endTimeUnixNano=50, parentSpanId="ab", kind=9, status={"code": 7}, name="a")
    batch = decode_traces(traces(wrong, resource={"host.name": "n1"}), JSON)
    (row,) = (
        batch.table("spans").select(["service", "node", "parent_span_id", "duration_ns", "kind", "status"]).to_pylist()
    )
    assert row == {
        "service": None,
        "node": "n1",
        "parent_span_id": None,
        "duration_ns": 0,
        "kind": 0,
        "status": 0,
    }
    assert batch.tally.repaired == {
        "service.name missing": 1,
        "end before start": 1,
        "parent span id not valid": 1,
        "unknown span kind": 1,
        "unknown span status": 1,
    }


@pytest.mark.parametrize(
    ("payload", "content_type", "place", "reason"),
    [
        (b"{", JSON, "offset 1", "expected JSON"),
        (b"[]", "application/json; charset=utf-8", "request", "ExportTraceServiceRequest: expected an object"),
        (b"\xff", PROTOBUF, "request", "expected a protobuf message"),
        (b"", "text/plain", "content type", "expected application/x-protobuf or application/json, got 'text/plain'"),
    ],
)
def test_what_is_no_request_is_refused_with_its_place(
    payload: bytes, content_type: str, place: str, reason: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_traces(payload, content_type, "here")
    assert (caught.value.source, caught.value.place) == ("here", place)
    assert caught.value.reason.startswith(reason)
