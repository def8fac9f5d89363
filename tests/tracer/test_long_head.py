"""Files whose first span is larger than the head by which formats are told."""

import io
import json
from typing import Any

import pytest

from hypocenter.errors import DecodeError
from hypocenter.tracer.batch import concat
from hypocenter.tracer.detect import decode, detect
from hypocenter.tracer.source import HEAD_BYTES, LONG_HEAD_BYTES, Source, decompressed

TAGS = [{"key": "stack", "type": "string", "value": "x" * (2 * HEAD_BYTES)}]
JAEGER = {"tags": TAGS, "traceID": "52969a89", "spanID": "647d98", "operationName": "get", "duration": 1}
ZIPKIN = {"tags": {"stack": "x" * (2 * HEAD_BYTES)}, "traceId": "a03ee8fff1dcd9b9", "id": "7a778764a0d0b594"}
FILES = {
    "jaeger-json": {"data": [{"spans": [{**JAEGER, "startTime": 1_700_000_000_000_000, "processID": "p1"}]}]},
    "zipkin-json": [{**ZIPKIN, "timestamp": 1_700_000_000_000_000, "localEndpoint": {"serviceName": "cart"}}],
}


def source_of(value: Any) -> Source:
    return Source("x.json", decompressed(io.BytesIO(json.dumps(value).encode())))


@pytest.mark.parametrize("name", FILES)
def test_format_is_told_beyond_a_first_span_of_100_kb(name: str) -> None:
    source = source_of(FILES[name])
    assert name == detect(source).NAME
    batch = concat(decode(source))
    assert (batch.table("spans").num_rows, batch.tally.dropped) == (1, {})


def test_json_of_no_format_is_refused_however_long_it_is() -> None:
    with pytest.raises(DecodeError, match="in none of the known formats"):
        detect(source_of({"x": "y" * (LONG_HEAD_BYTES + 1)}))
