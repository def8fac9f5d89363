"""OTLP files: told by content, read line by line or message by message, what is broken named by its place."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Iterable
from pathlib import Path

import orjson
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_requests import to_json

from hypocenter.errors import DecodeError
from hypocenter.tracer.batch import Batch, Tally, concat
from hypocenter.tracer.detect import detect
from hypocenter.tracer.otlp.batches import evened
from hypocenter.tracer.readers import otlp_json, otlp_protobuf
from hypocenter.tracer.source import Source, open_source

NOW = 1_700_000_000 * 10**9
RESOURCE = {"attributes": [{"key": "service.name", "value": {"string_value": "web"}}]}


def traces(*names: str) -> ExportTraceServiceRequest:
    ids = {"trace_id": b"t" * 16, "span_id": b"s" * 8, "start_time_unix_nano": NOW, "end_time_unix_nano": NOW + 9}
    spans = [ids | {"name": name} for name in names]
    return ExportTraceServiceRequest(resource_spans=[{"resource": RESOURCE, "scope_spans": [{"spans": spans}]}])


def metrics(name: str) -> ExportMetricsServiceRequest:
    gauge = {"name": name, "gauge": {"data_points": [{"time_unix_nano": NOW, "as_double": 1.5}]}}
    scoped = [{"metrics": [gauge]}]
    return ExportMetricsServiceRequest(resource_metrics=[{"resource": RESOURCE, "scope_metrics": scoped}])


def logs(*bodies: str) -> ExportLogsServiceRequest:
    records = [{"time_unix_nano": NOW, "body": {"string_value": body}} for body in bodies]
    return ExportLogsServiceRequest(resource_logs=[{"resource": RESOURCE, "scope_logs": [{"log_records": records}]}])


def source_of(content: bytes) -> Source:
    return Source("file", io.BufferedReader(io.BytesIO(content)))  # type: ignore[arg-type]


def told(batches: Iterable[Batch]) -> tuple[list[str], list[str], list[str], dict[str, int], list[str]]:
    """Return names of spans, names of series, log bodies, and what was dropped with its places."""
    batch = concat(batches)
    found = [batch.table(s)[c].to_pylist() for s, c in (("spans", "name"), ("series", "name"), ("logs", "body"))]
    return *found, dict(batch.tally.dropped), batch.tally.problems


def pretty(request: object) -> bytes:
    return json.dumps(json.loads(to_json(request)), indent=2).encode()  # type: ignore[arg-type]


A, B, M, L = to_json(traces("a")), to_json(traces("b")), to_json(metrics("m")), to_json(logs("l"))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(A + b"\n" + M + b"\n" + B + b"\n" + L + b"\n", id="lines"),
        pytest.param(b"\n" + A + b"\r\n\r\n" + M + b"\r\n" + B + b"\r\n" + L, id="lines of another system"),
        pytest.param(b"\xef\xbb\xbf" + A + b"\n" + B + b"\n" + M + b"\n" + L, id="byte order mark"),
        pytest.param(b"[" + b",".join([A, M, B, L]) + b"]", id="array"),
        pytest.param(b"[\n  " + b",\n  ".join([A, M, B, L]) + b"\n]\n", id="array over lines"),
        pytest.param(b"\n".join(map(pretty, (traces("a"), metrics("m"), traces("b"), logs("l")))), id="pretty"),
        pytest.param(orjson.dumps(orjson.loads(A) | orjson.loads(M) | orjson.loads(L)) + b"\n" + B, id="one object"),
    ],
)
def test_requests_in_json_are_read_in_every_layout(content: bytes) -> None:
    assert otlp_json.matches(content, "any")
    assert told(otlp_json.read(source_of(content))) == (["a", "b"], ["m"], ["l"], {}, [])


def test_broken_lines_are_dropped_with_their_number_and_the_rest_is_read() -> None:
    wrong_type = A.replace(b'"name":"a"', b'"name":7')
    content = b"\n".join([A, A[:-9], b"[1]", b'{"data":[]}', wrong_type, b"\xff", B])
    spans, _, _, dropped, problems = told(otlp_json.read(source_of(content)))
    assert spans == ["a", "b"]
    assert dropped == {
        "line that is not JSON": 2,
        "JSON value that is no OTLP request": 2,
        "malformed OTLP request": 1,
    }
    assert [problem.split(": ")[:2] for problem in problems] == [["file", f"line {n}"] for n in (2, 6, 3, 4, 5)]
    assert problems[-1] == (
        "file: line 5: resourceSpans: scopeSpans: spans: name: expected a string: malformed OTLP request"
    )


def test_first_line_that_is_broken_does_not_hide_the_others() -> None:
    assert told(otlp_json.read(source_of(A[:40] + b"\n" + A + b"\n" + B))) == (
        ["a", "b"],
        [],
        [],
        {"line that is not JSON": 1},
        ["file: line 1: unexpected end of data: line that is not JSON"],
    )


def test_line_that_is_too_long_is_dropped_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_json, "MAX_LINE_BYTES", 500)
    long = to_json(traces(*"x" * 40))
    assert told(otlp_json.read(source_of(A + b"\n" + long + b"\n" + B))) == (
        ["a", "b"],
        [],
        [],
        {"line longer than 256 MiB": 1},
        ["file: line 2: line longer than 256 MiB"],
    )


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def delimited(payload: bytes) -> bytes:
    return varint(len(payload)) + payload


def prefixed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


MESSAGES = [request.SerializeToString() for request in (traces("a"), metrics("m"), traces("b", "c"), logs("l"))]


@pytest.mark.parametrize("frame", [delimited, prefixed])
def test_stream_of_requests_with_their_lengths_is_read(frame: object) -> None:
    content = b"".join(map(frame, MESSAGES))  # type: ignore[call-overload]
    assert otlp_protobuf.matches(content, "any")
    assert told(otlp_protobuf.read(source_of(content))) == (["a", "b", "c"], ["m"], ["l"], {}, [])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (traces("a", "b"), (["a", "b"], [], [], {}, [])),
        (metrics("m"), ([], ["m"], [], {}, [])),
        (logs("l"), ([], [], ["l"], {}, [])),
    ],
)
def test_single_request_is_read_as_the_signal_that_it_is(request_: object, expected: object) -> None:
    content = request_.SerializeToString()  # type: ignore[attr-defined]
    assert otlp_protobuf.matches(content, "any")
    assert told(otlp_protobuf.read(source_of(content))) == expected


@pytest.mark.parametrize(("frame", "width"), [(delimited, 1), (prefixed, 4)])
def test_broken_request_of_a_stream_is_dropped_with_its_offset(frame: object, width: int) -> None:
    first, second = (frame(message) for message in (MESSAGES[0], MESSAGES[2]))  # type: ignore[operator]
    broken = frame(b"\x0a\xff")  # type: ignore[operator]
    spans, _, _, dropped, problems = told(otlp_protobuf.read(source_of(first + broken + second + second[:-1])))
    assert spans == ["a", "b", "c"]
    assert dropped == {"request cut short by the end of the file": 1, "malformed OTLP request": 1}
    assert problems[0] == (
        f"file: offset {len(first) + len(broken) + len(second)}: request cut short by the end of the file"
    )
    assert problems[1].startswith(f"file: offset {len(first)}: expected a protobuf message")


def test_rest_of_a_stream_is_dropped_where_a_length_makes_no_sense() -> None:
    first = prefixed(MESSAGES[0])
    assert told(otlp_protobuf.read(source_of(first + b"\xff" * 40))) == (
        ["a"],
        [],
        [],
        {"length of a request that makes no sense; the rest is unreadable": 1},
        [f"file: offset {len(first)}: length of a request that makes no sense; the rest is unreadable"],
    )


OTHERS = {
    "jaeger": b'{"data":[{"traceID":"ab","spans":[{"traceID":"ab","spanID":"cd","operationName":"x"}]}]}',
    "zipkin": b'[{"traceId":"ab","id":"cd","name":"get","localEndpoint":{"serviceName":"web"}}]',
    "tempo": b'{"batches":[{"resource":{},"scopeSpans":[{"spans":[{"traceId":"O6VWCcPN5JZJzXfR+dzZNg=="}]}]}]}',
    "tempo v2": b'{"trace":{"resourceSpans":[]}}',
    "kubernetes": b'{"kind":"List","items":[{"resourceVersion":"1"}]}',
    "csv": b"time,cart_cpu\n1700000000,0.5\n",
    "empty": b"",
    "line feeds": b"\n\n\n\n\n\n",
    "zeros": bytes(4096),
    "metrics text": b"# TYPE a counter\na_total 1\n",
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_other_formats_are_not_claimed(name: str) -> None:
    assert not otlp_json.matches(OTHERS[name], "trace.json")
    assert not otlp_protobuf.matches(OTHERS[name], "trace.json")


def test_random_bytes_are_not_claimed() -> None:
    chance = random.Random(7)
    claimed = 0
    for number in range(5000):
        noise = chance.randbytes(chance.choice((4, 30, 300)))
        content = (noise, b"\n" + noise, prefixed(b"\n" + noise), delimited(b"\n" + noise))[number % 4]
        claimed += otlp_protobuf.matches(content, "any") + otlp_json.matches(content, "any")
    assert claimed == 0


def test_single_request_that_is_broken_raises_with_the_file() -> None:
    with pytest.raises(DecodeError, match=r"^file: request: expected a protobuf message"):
        list(otlp_protobuf.read(source_of(MESSAGES[2] + b"\x0a")))
    with pytest.raises(DecodeError, match=r"^file: offset 0: expected OTLP protobuf of traces, metrics or logs"):
        list(otlp_protobuf.read(source_of(b"\0" * 50)))


@pytest.mark.parametrize("sizes", [[], [0], [3], [10, 10], [1, 1, 1, 25, 0, 2]])
def test_batches_are_evened_without_losing_order_or_counts(sizes: list[int]) -> None:
    names = iter(range(1000))
    batches = []
    for size in sizes:
        table = concat(
            [Batch({"spans": decoded(traces(*(str(next(names)) for _ in range(size))))}) if size else Batch()]
        )
        batches.append(Batch(table.tables, Tally(dropped={"why": 1})))  # type: ignore[arg-type]
    even = list(evened(batches, 10))
    assert told(even)[0] == [str(number) for number in range(sum(sizes))]
    assert sum(batch.tally.dropped["why"] for batch in even) == len(sizes)
    assert all(batch.rows <= 10 for batch in even)


def decoded(request: ExportTraceServiceRequest) -> object:
    (batch,) = otlp_protobuf.read(source_of(request.SerializeToString()))
    return batch.table("spans")


def test_packed_file_is_detected_and_read(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl.gz"
    path.write_bytes(gzip.compress(A + b"\n" + B))
    with open_source(path) as source:
        reader = detect(source)
        assert (reader.NAME, told(reader.read(source))[0]) == ("otlp-json", ["a", "b"])


@pytest.mark.shared
def test_public_fixtures_are_told_apart_and_read_without_loss(shared_data: Path) -> None:
    folder = shared_data / "trace_fixtures"
    wrong = []
    for line in (folder / "INDEX.jsonl").read_text().splitlines():
        entry = json.loads(line)
        with open_source(folder / entry["file"]) as source:
            head = source.head()
            ours = entry["format"] == "otlp-json" or "/examples/" in entry["file"]
            if (otlp_json.matches(head, source.file_name), otlp_protobuf.matches(head, "")) != (ours, False):
                wrong.append(entry["file"])
            elif ours:
                batch = concat(otlp_json.read(source))
                if batch.tally.dropped or not batch.rows or batch.table("spans").num_rows != entry["items"]:
                    wrong.append(entry["file"])
    assert wrong == []
