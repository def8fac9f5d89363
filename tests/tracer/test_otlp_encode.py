"""Encoding is the inverse of decoding, and says what only columns know."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from otlp_requests import requests

from hypocenter.errors import DecodeError
from hypocenter.tracer.otlp import JSON, PROTOBUF, decode_traces, encode_traces
from hypocenter.tracer.schema import SPANS


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF])
@given(request=requests["traces"])
@settings(max_examples=100, deadline=None)
def test_decoding_what_was_encoded_gives_the_same_table(content_type: str, request: Message) -> None:
    spans = decode_traces(request.SerializeToString(), PROTOBUF, "here").table("spans")
    again = decode_traces(encode_traces(spans, content_type), content_type, "here").table("spans")
    assert again.to_pylist() == spans.to_pylist()


@given(st.integers(1, 2**56 - 1))
@settings(deadline=None)
def test_every_sampling_threshold_comes_back_as_the_same_adjusted_count(threshold: int) -> None:
    digits = f"{threshold:014x}".rstrip("0")
    state = {"traceState": f"ot=th:{digits}"}
    first = _one_span(state)
    second = decode_traces(encode_traces(first, PROTOBUF), PROTOBUF, "here").table("spans")
    assert second["adjusted_milli"].to_pylist() == first["adjusted_milli"].to_pylist()


def test_encoded_line_is_one_object_with_ids_in_hex() -> None:
    assert encode_traces(_one_span({})) == (
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"%s",'
        b'"startTimeUnixNano":"5","endTimeUnixNano":"9","status":{}}]}]}]}\n' % (b"5b" * 16, b"ee" * 8)
    )


def test_column_without_its_attribute_is_encoded_by_the_newest_name() -> None:
    row = dict.fromkeys(SPANS.names) | {
        "trace_id": "ab" * 8,
        "span_id": "cd" * 8,
        "name": "GET",
        "kind": 3,
        "status": 2,
        "start_ns": 5,
        "duration_ns": 4,
        "service": "web",
        "http_status": 503,
        "db_system": "redis",
        "adjusted_milli": 4000,
        "attributes": [("db.system", '"redis"')],
        "source": "here",
    }
    line = encode_traces(pa.Table.from_pylist([row], schema=SPANS))
    (found,) = decode_traces(line, JSON, "here").table("spans").to_pylist()
    assert found == row | {
        "trace_id": "00" * 8 + "ab" * 8,
        "attributes": [("db.system", '"redis"'), ("http.response.status_code", "503")],
        "resource": [("service.name", '"web"')],
        "links": [],
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("start_ns", -1),
        ("trace_id", "not hex"),
        ("span_id", "xy"),
        ("attributes", [("key", "not JSON")]),
        ("resource", [("key", "{")]),
        ("events", "[1]"),
        ("links", [{"trace_id": "zz", "span_id": "00"}]),
    ],
)
def test_span_that_otlp_cannot_hold_is_a_clear_error(column: str, value: object) -> None:
    (row,) = _one_span({}).to_pylist()
    table = pa.Table.from_pylist([row | {column: value}], schema=SPANS)
    with pytest.raises(DecodeError, match=r"here: span .*/.*: cannot be written as OTLP: ."):
        encode_traces(table)


def _one_span(more: dict[str, object]) -> pa.Table:
    span = {"traceId": "5b" * 16, "spanId": "ee" * 8, "startTimeUnixNano": 5, "endTimeUnixNano": 9}
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [span | more]}]}]}
    return decode_traces(orjson.dumps(request), JSON, "here").table("spans")
