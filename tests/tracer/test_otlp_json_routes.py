"""OTLP/JSON of traces by its fast route: what it decides equals the plain route, all else is left to that."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import Sample, try_mutations
from otlp_requests import requests, to_json
from test_otlp_fuzz import seed
from test_otlp_routes import comparable

from hypocenter.errors import DecodeError
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.otlp import JSON, pieces
from hypocenter.tracer.otlp.decode import REQUESTS, decode, decode_json, decode_json_traces, parsed
from hypocenter.tracer.otlp.json_view import view_of
from hypocenter.tracer.readers import otlp_json
from hypocenter.tracer.source import Source

ONE = seed("traces", "json")
SPAN_ID = b"73" * 8


def plain(texts: Sequence[bytes]) -> str:
    """Return what the plain route makes of requests, as text."""
    try:
        return str(comparable(decode_json("traces", [parsed(text, "here") for text in texts], "here")))
    except DecodeError as error:
        return str(error)


def fast(texts: Sequence[bytes]) -> str | None:
    batch = decode_json_traces(texts, "here")
    return None if batch is None else str(comparable(batch))


def read(content: bytes) -> list[Batch]:
    return list(otlp_json.read(Source("file", io.BufferedReader(io.BytesIO(content)))))


def read_plainly(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    with monkeypatch.context() as patched:
        patched.setattr(otlp_json, "is_trace_request", lambda text: False)
        return read(content)


def with_span(**members: Any) -> bytes:
    """Return the request with members of its first span replaced."""
    request = orjson.loads(ONE)
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0].update(members)
    return orjson.dumps(request)


def with_value(value: object) -> bytes:
    """Return the request with one attribute more."""
    return with_span(attributes=[{"key": "before"}, {"key": "odd", "value": value}])


def with_numbers(text: bytes, *keys: str) -> bytes:
    """Return the request with the texts under ``keys`` as numbers."""

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [changed(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {key: int(inner) if key in keys else changed(inner) for key, inner in value.items()}

    return orjson.dumps(changed(orjson.loads(text)))


TIMES = ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano")
LINK = {"traceId": "ab" * 16, "spanId": "CD" * 8, "traceState": "a=b", "flags": 1, "attributes": [{"key": "k"}]}
DECIDED = {
    "every kind of field": ONE,
    "times as numbers": with_numbers(ONE, *TIMES),
    "integers as numbers": with_numbers(ONE, "intValue"),
    "all 64-bit integers as numbers": with_numbers(ONE, "intValue", *TIMES),
    "members that are null": with_span(name=None, kind=None, events=None, status=None, parentSpanId=None, links=None),
    "span of nothing": ONE.replace(b'"spans":[', b'"spans":[{},'),
    "no spans": b'{"resourceSpans":[]}',
    "null in place of spans": b'{ "resourceSpans" : null }',
    "pretty-printed": orjson.dumps(orjson.loads(ONE), option=orjson.OPT_INDENT_2),
    "fields of no use here": with_span(flags=257, droppedAttributesCount=1, droppedEventsCount=2, links=[LINK]),
    "ids of the wrong length and of zeros": with_span(traceId="abcd", spanId="0" * 16, parentSpanId="ab"),
    "time of zero": with_span(startTimeUnixNano="0"),
    "time beyond 2262": with_span(endTimeUnixNano=str(2**64 - 1)),
    "integer with zeros before it": with_value({"intValue": "-0007"}),
    "value not set": with_value({}),
    "value that is null": with_value({"stringValue": None}),
    "integer as double": ONE.replace(b'"doubleValue":1.5', b'"doubleValue":9007199254740993'),
    "double without its like": with_value({"doubleValue": 2.4703282292062328e-324}),
    "null in an array": with_value({"arrayValue": {"values": [None, {"stringValue": "a"}, {}]}}),
    "empty array": with_value({"arrayValue": {}}),
    "empty map": with_value({"kvlistValue": {"values": None}}),
    "map that repeats a key": with_value({"kvlistValue": {"values": [{"key": "a"}, {"key": "a"}]}}),
    "bytes": with_value({"bytesValue": "_-8"}),
    "escapes and all of Unicode": with_span(name='\0\x1f"\\/\x7f\u2028é💥'),
    "escapes in a key": ONE.replace(b'"name":"GET"', b'"n\\u0061me":"\\ud83d\\udca5"'),
    "key repeated among attributes": with_span(attributes=[{"key": "a"}, {"key": "a", "value": {"intValue": "1"}}]),
}


@pytest.mark.parametrize("case", DECIDED)
def test_usual_request_is_decided_and_equals_the_plain_route(case: str) -> None:
    texts = [DECIDED[case]] * 2
    assert fast(texts) == plain(texts)


LEFT = {
    "unknown field": with_span(novel=1),
    "unknown field of the request": ONE[:-1] + b',"novel":1}',
    "name of the .proto file": ONE.replace(b'"traceId"', b'"trace_id"'),
    "number where text belongs": with_span(name=7),
    "text where a number belongs": with_span(flags="7"),
    "enum by its name": with_span(kind="SPAN_KIND_SERVER"),
    "truth value in place of text": with_value({"stringValue": True}),
    "object in place of an array": with_span(events={}),
    "time as a number among texts": with_span(endTimeUnixNano=5),
    "time that is negative": with_span(startTimeUnixNano="-5"),
    "time in hex": with_span(startTimeUnixNano="0x12"),
    "time of too many digits": with_span(startTimeUnixNano="0" * 20 + "1"),
    "time of 65 bits": with_span(startTimeUnixNano=str(2**64)),
    "time that is empty": with_span(startTimeUnixNano=""),
    "time with a fraction": with_numbers(ONE, *TIMES).replace(b"00000000,", b"00000000.0,"),
    "integer in hex": with_value({"intValue": "0x12"}),
    "integer of 65 bits": with_value({"intValue": str(2**64)}),
    "integer with a sign inside": with_value({"intValue": "1-2"}),
    "NaN as text": with_value({"doubleValue": "NaN"}),
    "NaN bare": with_value({"doubleValue": 0.5}).replace(b"0.5", b"NaN"),
    "minus infinity bare": with_value({"doubleValue": 0.5}).replace(b"0.5", b"-Infinity"),
    "double beyond all": with_value({"doubleValue": 0.5}).replace(b"0.5", b"1" + b"0" * 400),
    "minus zero": with_value({"doubleValue": 0.5}).replace(b"0.5", b"-0"),
    "minus zero in an array": with_value({"arrayValue": {"values": [{"doubleValue": 0.5}]}}).replace(b"0.5", b"-0"),
    "NaN bare in a map": with_value({"kvlistValue": {"values": [{"key": "a", "value": {"doubleValue": 0.5}}]}}).replace(
        b"0.5", b"NaN"
    ),
    "number with a zero before it": ONE.replace(b'"kind":2', b'"kind":02'),
    "value given twice": with_value({"stringValue": "a", "intValue": "1"}),
    "value given twice in an array": with_value({"arrayValue": {"values": [{"intValue": "1", "boolValue": True}, {}]}}),
    "array in an array": with_value({"arrayValue": {"values": [{"arrayValue": {}}]}}),
    "map in a map": with_value({"kvlistValue": {"values": [{"key": "a", "value": {"kvlistValue": {}}}]}}),
    "map with null in place of a pair": with_value({"kvlistValue": {"values": [None]}}),
    "bytes that are no base64": with_value({"bytesValue": "!"}),
    "attribute without a key": with_span(attributes=[{"value": {"stringValue": "a"}}]),
    "key of null": with_span(attributes=[{"key": None}]),
    "null in place of an attribute": with_span(attributes=[None]),
    "null in place of an attribute of a link": with_span(links=[LINK | {"attributes": [None]}]),
    "null in place of a span": ONE.replace(b'"spans":[', b'"spans":[null,'),
    "key given twice": ONE.replace(b'"kind":2', b'"kind":2,"kind":3'),
    "key given twice, once null": ONE.replace(b'"kind":2', b'"kind":2,"kind":null'),
    "id that is not hex": with_span(traceId="g" * 32),
    "id in base64": with_span(traceId="dHR0dHR0dHR0dHR0dHR0dA=="),
    "id of an odd length": with_span(traceId="a" * 31),
    "id with spaces": with_span(spanId="73 " * 7 + "73"),
    "bytes that are no UTF-8": ONE.replace(b'"name":"GET"', b'"name":"\xff"'),
    "surrogate in UTF-8": ONE.replace(b'"name":"GET"', b'"name":"\xed\xa0\x80"'),
    "surrogate alone": ONE.replace(b'"name":"GET"', b'"name":"\\ud800"'),
    "control character in text": ONE.replace(b'"name":"GET"', b'"name":"a\tb"'),
    "zero byte": ONE.replace(b'"name":"GET"', b'"name":"GET"\0'),
    "two objects on a line": ONE + b" " + ONE,
    "object and null on a line": ONE + b" null {}",
    "comma too many": ONE.replace(b'"kind":2', b'"kind":2,'),
    "cut short": ONE[:-9] + b"}",
    "another signal beside the spans": ONE[:-1] + b',"resourceLogs":[]}',
    "no object": b"null",
    "array of requests": b"[" + ONE + b"]",
}


@pytest.mark.parametrize("case", LEFT)
def test_odd_line_is_left_to_the_plain_route_with_its_number(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LEFT[case] != ONE
    assert fast([LEFT[case]]) is None
    assert fast([ONE, LEFT[case], ONE]) in (None, plain([ONE, LEFT[case], ONE]))
    content = b"\n".join([ONE, LEFT[case], ONE])
    assert list(map(comparable, read(content))) == list(map(comparable, read_plainly(content, monkeypatch)))


def test_lines_that_hold_as_many_values_as_there_are_lines_but_not_one_each_are_left() -> None:
    halves = [b'{"resourceSpans":[{}', b'{"resourceSpans":[]}]}']
    assert fast([ONE + b" " + ONE, b" ".join(halves)]) is None
    assert fast([ONE + b" " + ONE, b'{"resourceSpans":[{}']) is None
    assert fast([ONE + b" " + ONE + b" " + ONE, *halves]) is None


def test_first_line_of_null_harms_nothing() -> None:
    (batch,) = read(b"null\n" + ONE + b"\n")
    assert (batch.table("spans").num_rows, dict(batch.tally.dropped)) == (1, {"JSON value that is no OTLP request": 1})


def test_only_an_eighth_of_a_block_takes_the_plain_route_for_an_odd_line(monkeypatch: pytest.MonkeyPatch) -> None:
    views = []
    view = view_of(REQUESTS["traces"].DESCRIPTOR)

    def counted(value: object) -> object:
        views.append(value)
        return view(value)

    lines = [ONE] * 80
    lines[42] = with_span(kind="SPAN_KIND_SERVER", attributes=[{"key": "k", "value": {"doubleValue": "NaN"}}])
    lines[7] = with_span(name="moved", links=[LINK, LINK])
    expected = plain(lines)
    monkeypatch.setattr(pieces, "view_of", lambda descriptor: counted)
    assert fast(lines) == expected
    assert len(views) == 10


def test_only_the_block_of_a_broken_line_takes_the_plain_route(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def noted(signal: str, requests: Sequence[object], source: str) -> Batch:
        taken.append(len(requests))
        return decode_json(signal, requests, source)

    monkeypatch.setattr(otlp_json, "decode_json", noted)
    monkeypatch.setattr(otlp_json, "_CHUNK_BYTES", 10 * len(ONE))
    lines = [ONE] * 100
    lines[42] = ONE[:-1] + b"]}"
    batch = concat(read(b"\n".join(lines)))
    assert batch.table("spans").num_rows == 99
    assert batch.tally.problems[0].startswith("file: line 43: ")
    assert taken == [9]


@pytest.mark.parametrize("other", [b'"resourceLogs":[]', b'"resource_spans":[]'])
def test_lines_with_more_than_spans_are_not_taken_for_spans_alone(other: bytes) -> None:
    assert fast([ONE, ONE[:-1] + b"," + other + b"}", ONE]) is None


def test_other_signals_among_the_lines_leave_the_traces_to_the_fast_route(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"\n".join([seed("metrics", "json"), ONE, seed("logs", "json"), ONE, b"{}"])
    expected = list(map(comparable, read_plainly(content, monkeypatch)))
    plainly = []

    def noted(signal: str, requests: Sequence[object], source: str) -> Batch:
        plainly.append(signal)
        return decode_json(signal, requests, source)

    monkeypatch.setattr(otlp_json, "decode_json", noted)
    assert list(map(comparable, read(content))) == expected
    assert plainly == ["metrics", "logs"]


def usual(value: Any, depth: int = 0) -> Any:
    """Return parsed OTLP/JSON with what the fast route leaves to the plain one replaced by what it decides."""
    if isinstance(value, list):
        return [usual(item, depth) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, inner in value.items():
        if name == "doubleValue":
            found[name] = 0.5 if isinstance(inner, str) or inner == 0 else inner
        elif name in ("arrayValue", "kvlistValue"):
            if depth == 0:
                found[name] = usual(inner, 1)
        elif name == "attributes" or (name == "values" and any("key" in item or "value" in item for item in inner)):
            found[name] = [{"key": ""} | usual(pair, depth) for pair in inner]
        else:
            found[name] = usual(inner, depth)
    return found


@given(st.lists(requests["traces"], max_size=10))
@settings(max_examples=80, deadline=None)
def test_fast_route_equals_the_plain_one_where_it_decides(messages: list[Message]) -> None:
    texts = [to_json(message) for message in messages]
    assert fast(texts) in (None, plain(texts))


@given(st.lists(requests["traces"], max_size=3))
@settings(max_examples=80, deadline=None)
def test_fast_route_decides_whatever_is_written_as_usual(messages: list[Message]) -> None:
    texts = [orjson.dumps(usual(orjson.loads(to_json(message)))) for message in messages]
    texts = [ONE, *(text for text in texts if text != b"{}")]
    assert fast(texts) == plain(texts)


@pytest.mark.parametrize("spelling", ["text", "numbers"])
def test_mutated_lines_are_read_alike_by_both_routes(spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ONE if spelling == "text" else with_numbers(ONE, "intValue", *TIMES)

    def compare(_: str, content: bytes) -> None:
        assert list(map(comparable, read(content))) == list(map(comparable, read_plainly(content, monkeypatch)))

    files = [Sample("file", text), Sample("file", text + b"\n" + text + b"\n")]
    try_mutations(f"otlp-json-{spelling}", files, range(600), compare)


@pytest.mark.parametrize("spoil", [None, lambda text: text[:-1], lambda text: text + b"\x0b"], ids=["", "cut", "tail"])
def test_large_request_alone_is_decoded_or_refused_as_a_small_one(spoil: Callable[[bytes], bytes] | None) -> None:
    request = orjson.loads(ONE)
    spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans *= 300
    text = orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE)
    assert len(text) > 2**17
    if spoil is not None:
        with pytest.raises(DecodeError, match="expected JSON"):
            decode("traces", spoil(text.strip()), JSON, "here")
    else:
        assert str(comparable(decode("traces", text, JSON, "here"))) == plain([text])
