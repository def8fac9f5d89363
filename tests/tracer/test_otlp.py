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


def value_of(**value: object) -> dict[str, object]:
    return {"key": "k", "value": value}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"intValue": "1"}, "1"),
        ({"intValue": 1}, "1"),
        ({"doubleValue": 1}, "1.0"),
        ({"stringValue": "1"}, '"1"'),
        ({"boolValue": True}, "true"),
        ({}, "null"),
        ({"doubleValue": -0.0}, "-0.0"),
        ({"doubleValue": "NaN"}, '{"doubleValue":"NaN"}'),
        ({"doubleValue": "-Infinity"}, '{"doubleValue":"-Infinity"}'),
        ({"bytesValue": "AAE="}, '{"bytesValue":"AAE="}'),
        ({"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "a"}, {}]}}, '[1,"a",null]'),
        ({"arrayValue": {}}, "[]"),
        ({"kvlistValue": {"values": [value_of(stringValue="v")]}}, '{"k":"v"}'),
        (
            {"kvlistValue": {"values": [value_of(intValue=1), value_of(intValue=2)]}},
            '{"kvlistValue":[["k",1],["k",2]]}',
        ),
        (
            {"kvlistValue": {"values": [{"key": "bytesValue", "value": {"stringValue": "AAE="}}]}},
            '{"kvlistValue":[["bytesValue","AAE="]]}',
        ),
    ],
)
def test_attribute_values_of_different_types_have_different_texts(value: dict[str, object], text: str) -> None:
    batch = decode_traces(traces(span(attributes=[{"key": "a", "value": value}])), JSON)
    assert batch.table("spans")["attributes"].to_pylist() == [[("a", text)]]


@pytest.mark.parametrize("value", [{"intValue": "1e3"}, {"intValue": 2**63}, {"intValue": "1_0"}, {"boolValue": 1}, 7])
def test_value_that_protobuf_json_forbids_is_refused(value: object) -> None:
    with pytest.raises(DecodeError, match="resourceSpans: scopeSpans: spans: attributes: "):
        decode_traces(traces(span(attributes=[{"key": "a", "value": value}])), JSON)


def columns_of(names: list[str], **attributes: object) -> list[object]:
    pairs = [{"key": key.replace("__", "."), "value": value} for key, value in attributes.items()]
    (row,) = decode_traces(traces(span(attributes=pairs)), JSON).table("spans").select(names).to_pylist()
    return [row[name] for name in names]


def test_newest_generation_of_an_attribute_name_wins_and_old_ones_count() -> None:
    new, old = {"stringValue": "new"}, {"stringValue": "old"}
    names = ["db_system", "peer_service", "http_status"]
    assert columns_of(names, db__system=old, db__system__name=new, peer__service=old) == ["new", "old", None]
    assert columns_of(names, db__system=old, db__system__name={"stringValue": ""}) == ["old", None, None]
    for status in ({"intValue": 503}, {"stringValue": "503"}):
        assert columns_of(names, http__status_code=status) == [None, None, 503]
    assert columns_of(names, http__status_code={"stringValue": "oops"}) == [None, None, None]


@pytest.mark.parametrize(
    ("kind", "attribute", "code", "error"),
    [
        (3, "rpc.grpc.status_code", {"intValue": 5}, "NOT_FOUND"),
        (2, "rpc.grpc.status_code", {"intValue": 5}, None),
        (2, "rpc.response.status_code", {"stringValue": "DEADLINE_EXCEEDED"}, "DEADLINE_EXCEEDED"),
        (3, "grpc.status_code", {"stringValue": "14"}, "UNAVAILABLE"),
        (3, "rpc.grpc.status_code", {"intValue": 0}, None),
        (1, "rpc.grpc.status_code", {"intValue": 13}, None),
        (3, "rpc.grpc.status_code", {"intValue": 99}, None),
    ],
)
def test_grpc_status_is_an_error_by_the_side_that_it_fails(
    kind: int, attribute: str, code: dict[str, object], error: str | None
) -> None:
    attributes = [{"key": attribute, "value": code}]
    (row,) = decode_traces(traces(span(kind=kind, attributes=attributes)), JSON).table("spans").to_pylist()
    assert row["error_type"] == error
    told = [*attributes, {"key": "error.type", "value": {"stringValue": "mine"}}]
    (row,) = decode_traces(traces(span(kind=kind, attributes=told)), JSON).table("spans").to_pylist()
    assert row["error_type"] == "mine"


def test_function_that_is_invoked_by_name_is_a_peer() -> None:
    invoked = {"faas__invoked_name": {"stringValue": "resize"}}
    assert columns_of(["peer_service"], **invoked) == ["resize"]
    assert columns_of(["peer_service"], **invoked, peer__service={"stringValue": "images"}) == ["images"]


def test_unknown_service_is_kept_as_the_sdk_says_it() -> None:
    batch = decode_traces(traces(span(), resource={"service.name": "unknown_service:node"}), JSON)
    assert (batch.table("spans")["service"].to_pylist(), batch.tally.repaired) == (["unknown_service:node"], {})


@pytest.mark.parametrize(
    ("state", "milli"),
    [
        ("", 1000),
        ("a=b", 1000),
        ("ot=th:0", 1000),
        ("ot=th:8", 2000),
        ("a=b,ot=rv:1;th:c", 4000),
        ("ot=th:aaaaaaaaaaaaab", 3000),
        ("ot=th:5", 1455),
        ("ot=th:C", 1000),
        ("not=th:8", 1000),
    ],
)
def test_sampling_threshold_gives_the_adjusted_count_rounded_to_thousandths(state: str, milli: int) -> None:
    assert decode_traces(traces(span(traceState=state)), JSON).table("spans")["adjusted_milli"].to_pylist() == [milli]


def test_events_and_links_are_kept() -> None:
    exception = {"timeUnixNano": "120", "name": 'say "no"', "attributes": [value_of(intValue="1")]}
    links = [{"traceId": "AB" * 16, "spanId": "cd" * 8}, {"traceId": "ab", "spanId": "cd" * 8}]
    batch = decode_traces(traces(span(events=[exception, {}], links=links), span()), JSON, "file")
    assert batch.table("spans").select(["events", "links"]).to_pylist() == [
        {
            "events": '[{"time_ns":120,"name":"say \\"no\\"","attributes":{"k":1}},'
            '{"time_ns":0,"name":"","attributes":{}}]',
            "links": [{"trace_id": "ab" * 16, "span_id": "cd" * 8}],
        },
        {"events": None, "links": []},
    ]
    assert batch.tally.dropped == {"span link without valid ids": 1}


def test_repeated_attribute_key_keeps_the_last_value_and_is_counted() -> None:
    batch = decode_traces(traces(span(attributes=[value_of(intValue=1), value_of(intValue=2)])), JSON)
    assert batch.table("spans")["attributes"].to_pylist() == [[("k", "2")]]
    assert batch.tally.repaired == {"attribute key repeated": 1}
