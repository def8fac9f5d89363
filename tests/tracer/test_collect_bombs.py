"""Small requests that unfold to much: refused within seconds and a bounded memory, and the next one is served."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import psutil
import pytest
from collecting import Running, collector, exporter

from hypocenter.tracer.otlp import JSON, PROTOBUF

# Decompressed 64 MiB, the largest request that is looked at.
MIB = 1 << 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with collector(tmp_path_factory.mktemp("bombs") / "store") as found:
        yield found
        assert found.metric("hypocenter_collect_worker_deaths_total") == 0


def part(number: int, body: bytes) -> bytes:
    """Return a length-delimited field of protobuf."""
    left, length = len(body), bytearray()
    while left >= 0x80:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([number << 3 | 2, *length, left]) + body


def nested(levels: int, shape: str, content_type: str) -> bytes:
    """Return a request of one span with one attribute that is nested so deep."""
    now = time.time_ns()
    if content_type == PROTOBUF:
        value = part(1, b"x")
        for _ in range(levels):
            value = part(5, part(1, value)) if shape == "array" else part(6, part(1, part(1, b"k") + part(2, value)))
        times = b"\x39" + now.to_bytes(8, "little") + b"\x41" + now.to_bytes(8, "little")
        span = part(1, bytes(15) + b"\1") + part(2, bytes(7) + b"\1") + part(5, b"deep") + times
        return part(1, part(2, part(2, span + part(9, part(1, b"key") + part(2, value)))))
    opened, closed = {
        "array": ('{"arrayValue":{"values":[', "]}}"),
        "map": ('{"kvlistValue":{"values":[{"key":"k","value":', "}]}}"),
    }[shape]
    text = opened * levels + '{"stringValue":"x"}' + closed * levels
    span_json = {"traceId": f"{1:032x}", "spanId": f"{1:016x}", "name": "deep", "startTimeUnixNano": str(now)}
    span_json |= {"endTimeUnixNano": str(now), "attributes": [{"key": "key", "value": "HERE"}]}  # type: ignore[dict-item]
    made = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span_json]}]}]})
    return made.replace('"HERE"', text).encode()


def stored(running: Running) -> int:
    return running.store.read("spans", columns=["name"]).num_rows


@pytest.mark.parametrize("shape", ["array", "map"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_deep_values_are_kept_to_a_depth_and_refused_cheaply_beyond(
    running: Running, shape: str, content_type: str
) -> None:
    before = stored(running)
    assert running.post("/v1/traces", nested(20, shape, content_type), content_type).status == 200
    assert stored(running) == before + 1
    for levels in (40, 100, 20_000):
        payload = nested(levels, shape, content_type)
        begun = time.monotonic()
        answer = running.post("/v1/traces", payload, content_type)
        assert (answer.status, "retry-after" in answer.headers) == (400, False)
        if content_type == PROTOBUF:
            with exporter(running.ports["otlp-grpc"]) as export, pytest.raises(grpc.RpcError) as caught:
                export(payload, timeout=60)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert time.monotonic() - begun < 10
    assert stored(running) == before + 1


@contextmanager
def peak_memory(running: Running) -> Iterator[list[int]]:
    """Yield a list that holds, in the end, the most bytes that the collector's processes held at a time."""
    top, found, stop = psutil.Process(running.process.pid), [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            found[0] = max(found[0], sum(one.memory_info().rss for one in [top, *top.children(recursive=True)]))

    watching = threading.Thread(target=watch)
    watching.start()
    yield found
    stop.set()
    watching.join()


def zeros() -> bytes:
    return gzip.compress(bytes(200 * MIB), 1)


def members() -> bytes:
    return gzip.compress(b"") * 1_000_000


def objects() -> bytes:
    return gzip.compress(b'{"resourceSpans":[' + b"{}," * (20 * MIB) + b"{}]}", 1)


def zipkin_objects() -> bytes:
    return gzip.compress(b"[" + b"{}," * (20 * MIB) + b"{}]", 1)


def spans_of_nothing() -> bytes:
    return gzip.compress(part(1, part(2, b"\x12\0" * (31 * MIB))), 1)


def resources_of_nothing() -> bytes:
    return gzip.compress(b"\x0a\0" * (31 * MIB), 1)


@pytest.mark.parametrize(
    ("path", "bomb", "content_type", "status"),
    [
        ("/v1/traces", zeros, PROTOBUF, 413),
        ("/v1/logs", zeros, JSON, 413),
        ("/v1/traces", members, PROTOBUF, 400),
        ("/v1/traces", objects, JSON, 400),
        ("/v1/traces", spans_of_nothing, PROTOBUF, 400),
        ("/v1/metrics", resources_of_nothing, PROTOBUF, 400),
        ("/api/v2/spans", zipkin_objects, JSON, 400),
    ],
)
def test_gzip_bombs_are_refused_over_http(
    running: Running, path: str, bomb: Callable[[], bytes], content_type: str, status: int
) -> None:
    body, begun = bomb(), time.monotonic()
    with peak_memory(running) as peak:
        assert running.post(path, body, content_type, content_encoding="gzip").status == status
    assert time.monotonic() - begun < 30
    assert peak[0] < 1000 * MIB
    assert running.post("/v1/traces", nested(0, "array", PROTOBUF)).status == 200


def test_gzip_bombs_are_refused_over_grpc(running: Running) -> None:
    options: Any = [("grpc.max_send_message_length", -1)]
    with (
        peak_memory(running) as peak,
        exporter(running.ports["otlp-grpc"], compression=grpc.Compression.Gzip, options=options) as export,
    ):
        calls = [export.future(bytes(100 * MIB), timeout=60) for _ in range(3)]
        assert {call.code() for call in calls} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert export(nested(0, "array", PROTOBUF), timeout=60) == b""
    assert peak[0] < 1000 * MIB


def test_spans_of_little_are_refused_and_their_memory_given_back(running: Running) -> None:
    """Four bytes a span unfold to a hundred; the worker's bound of memory ends that."""
    spans = gzip.compress(part(1, part(2, b"\x12\x02\x30\x01" * (15 * MIB))), 1)
    with peak_memory(running) as peak:
        assert running.post("/v1/traces", spans, content_encoding="gzip").status == 400
        assert running.post("/v1/traces", nested(0, "array", PROTOBUF)).status == 200
    assert peak[0] < 4000 * MIB
    top = psutil.Process(running.process.pid)
    assert sum(one.memory_info().rss for one in [top, *top.children(recursive=True)]) < 1500 * MIB
