"""Every route gives equal tables: ptars and the protobuf library, protobuf and JSON in all its spellings."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from otlp_requests import requests, to_json

from hypocenter.tracer.batch import Batch
from hypocenter.tracer.otlp import JSON
from hypocenter.tracer.otlp.arrow import is_available
from hypocenter.tracer.otlp.decode import decode, decode_protobuf
from hypocenter.tracer.schema import SIGNALS

needs_ptars = pytest.mark.skipif(not is_available(), reason="the extra [fast] is not installed")


def comparable(batch: Batch) -> object:
    """Return all that a batch says, doubles as text so that NaN equals itself and -0.0 differs from 0.0."""
    for signal, table in batch.tables.items():
        assert table.schema.equals(SIGNALS[signal], check_metadata=True)
        table.validate(full=True)
    tables = {signal: table.to_pylist() for signal, table in batch.tables.items()}
    return repr((tables, batch.tally))


@needs_ptars
@given(st.lists(requests["traces"], max_size=3))
@settings(max_examples=150, deadline=None)
def test_ptars_and_the_protobuf_library_agree(messages: list[Message]) -> None:
    payloads = [message.SerializeToString() for message in messages]
    fast, plain = (decode_protobuf("traces", payloads, "here", route=route) for route in ("ptars", "protobuf"))
    assert comparable(fast) == comparable(plain)


@pytest.mark.parametrize("signal", list(requests))
@given(data=st.data(), snake_case=st.booleans(), names=st.booleans())
@settings(max_examples=100, deadline=None)
def test_json_says_the_same_as_protobuf(signal: str, data: st.DataObject, snake_case: bool, names: bool) -> None:
    message = data.draw(requests[signal])
    text = to_json(message, snake_case=snake_case, names=names)
    from_json = decode(signal, text, JSON, "here")
    assert comparable(from_json) == comparable(decode_protobuf(signal, [message.SerializeToString()], "here"))


@needs_ptars
def test_value_given_twice_is_the_last_one_on_both_routes() -> None:
    def field(tag: int, content: bytes) -> bytes:
        return bytes([tag, len(content)]) + content

    twice = field(0x0A, b"key") + field(0x12, field(0x0A, b"first")) + field(0x12, b"\x18\x05")
    span = field(0x0A, b"t" * 16) + field(0x12, b"s" * 8) + b"\x39" + b"\1" * 8 + field(0x4A, twice)
    payload = field(0x0A, field(0x12, field(0x12, span)))
    for route in ("ptars", "protobuf"):
        spans = decode_protobuf("traces", [payload], "here", route=route).table("spans")
        assert spans["attributes"].to_pylist() == [[("key", "5")]]
