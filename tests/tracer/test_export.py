"""Exports: Parquet and OTLP come back equal, CSV holds the same values, requests are repeated as OTLP asks."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from hypocenter.errors import DeliveryError
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.export import REQUEST_BYTES, pieces, requests, write_csv, write_parquet
from hypocenter.tracer.ingest import ingest
from hypocenter.tracer.json_text import to_json_text
from hypocenter.tracer.otlp import JSON, PROTOBUF, decode_traces
from hypocenter.tracer.otlp.post import TracePoster, traces_url
from hypocenter.tracer.otlp.whole_ids import with_whole_ids
from hypocenter.tracer.schema import ATTRIBUTES, LINKS, SIGNALS, SPANS
from hypocenter.tracer.store import Store

# Texts in which nothing looks like a secret, so that ingest has nothing to mask.
texts = st.text(st.characters(codec="utf-8", exclude_characters="@?'\"=:\0"), max_size=6)
values = st.one_of(texts, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)).map(
    lambda value: orjson.dumps(value).decode()
)
cells: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): texts,
    pa.int8(): st.integers(0, 5),
    pa.int32(): st.integers(100, 599),
    pa.int64(): st.integers(0, 2**62),
    ATTRIBUTES: st.dictionaries(st.sampled_from(["http.route", "retries", "a,b"]), values).map(lambda d: [*d.items()]),
    LINKS: st.lists(st.fixed_dictionaries({"trace_id": st.just("ab" * 16), "span_id": st.just("cd" * 8)}), max_size=2),
}
rows = st.fixed_dictionaries(
    {f.name: cells[f.type] if not f.nullable else st.none() | cells[f.type] for f in SPANS}
    # A start that is told apart from microseconds, and events as every decoder writes them.
    | {"start_ns": st.integers(10**18, 2 * 10**18), "events": st.none() | st.just("[]")}
    | {"trace_id": st.just("ab" * 16), "span_id": st.just("cd" * 8), "adjusted_milli": st.integers(1000, 9000)}
)


def span(**columns: Any) -> dict[str, Any]:
    known = {"trace_id": "ab" * 16, "span_id": "cd" * 8, "name": "GET", "kind": 2, "status": 0, "source": "here"}
    return dict.fromkeys(SPANS.names) | known | {"start_ns": 10**18, "duration_ns": 5, "adjusted_milli": 1000} | columns


def table(*spans: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(spans), SPANS)


def written(write: Callable[..., None], spans: pa.Table) -> bytes:
    sink = io.BytesIO()
    write(spans.to_batches(), spans.schema, sink)
    return sink.getvalue()


@given(st.lists(rows, min_size=1, max_size=4))
@settings(max_examples=60)
def test_ingest_of_exported_parquet_gives_equal_rows(spans: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        first = Store(Path(folder, "first"), create=True)
        first.append(Batch({"spans": table(*spans)}))
        with Path(folder, "spans.parquet").open("wb") as file:
            write_parquet(first.scan("spans"), SPANS, file)
        second = Store(Path(folder, "second"), create=True)
        assert [f.outcome for f in ingest([Path(folder, "spans.parquet")], second).files] == ["added"]
        assert second.read("spans").equals(first.read("spans"))


@given(st.lists(rows, min_size=1, max_size=4))
@settings(max_examples=60)
def test_csv_holds_every_value_and_nested_ones_as_json(spans: list[Any]) -> None:
    as_text = pacsv.ConvertOptions(
        null_values=[""],
        column_types=dict.fromkeys(SPANS.names, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    read = pacsv.read_csv(
        io.BytesIO(written(write_csv, table(*spans))),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=as_text,
    ).to_pylist()
    assert read == [{name: _cell(name, value) for name, value in row.items()} for row in spans]


def _cell(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if name in ("attributes", "resource"):
        return "{" + ",".join(f"{orjson.dumps(key).decode()}:{text}" for key, text in value) + "}"
    if name == "links":
        return orjson.dumps([{key: link[key] for key in ("trace_id", "span_id")} for link in value]).decode()
    return str(value)


def test_nested_nulls_and_slices_become_json() -> None:
    maps = pa.array([[("a", "1")], None, [], [("b", None), ('"', '"x"')]], ATTRIBUTES)
    assert to_json_text(maps.slice(1)).to_pylist() == [None, "{}", '{"b":null,"\\"":"x"}']
    assert to_json_text(pa.array([[{"bucket": None, "count": 1}, None]])).to_pylist() == [
        '[{"bucket":null,"count":1},null]'
    ]


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_every_signal_can_be_written_while_empty(signal: str) -> None:
    schema = SIGNALS[signal]
    for write in (write_parquet, write_csv):
        assert written(write, schema.empty_table())


def test_requests_hold_every_span_once_in_bounded_pieces() -> None:
    spans = table(*(span(span_id=f"{i + 1:016x}", name="n" * 4000) for i in range(3000)))
    made = list(requests(spans.to_batches(), PROTOBUF, []))
    assert max(len(body) for body, _ in made) < 2 * REQUEST_BYTES
    assert sum(count for _, count in made) == 3000
    decoded = [decode_traces(body, PROTOBUF, "here").table("spans") for body, _ in made]
    assert pa.concat_tables(decoded)["span_id"].to_pylist() == spans["span_id"].to_pylist()


def test_one_row_beyond_the_bound_is_a_piece_of_its_own() -> None:
    (batch,) = table(span(name="a"), span(name="b" * 10_000), span(name="c")).combine_chunks().to_batches()
    assert [piece.num_rows for piece in pieces(batch, 100, 5_000)] == [1, 1, 1]


def test_ids_that_otlp_cannot_hold_are_replaced_alike_everywhere() -> None:
    links = [{"trace_id": "t.1", "span_id": "s.1"}]
    spans = table(
        span(trace_id="t.1", span_id="s.1"),
        span(trace_id="t.1", span_id="a1", parent_span_id="s.1"),
        span(trace_id="abc", span_id="a1", links=links),
    )
    whole, changed = with_whole_ids(spans)
    first, second, third = whole.to_pylist()
    assert changed == 2
    assert (first["trace_id"], first["span_id"]) == (second["trace_id"], second["parent_span_id"])
    assert third["links"] == [{"trace_id": first["trace_id"], "span_id": first["span_id"]}]
    assert (second["span_id"], third["trace_id"]) == ("a1".rjust(16, "0"), "abc".rjust(32, "0"))
    assert {len(row["trace_id"]) for row in (first, second, third)} == {32}
    assert len(decode_traces(next(requests(spans.to_batches(), JSON, []))[0], JSON, "x").table("spans")) == 3


class Receiver(ThreadingHTTPServer):
    """Answers what it was told to, in order, then 200; and keeps what was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        status, headers, answer = self.server.answers.pop(0) if self.server.answers else (200, {}, b"")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def poster(receiver: Receiver, waits: list[float], **options: Any) -> TracePoster:
    return TracePoster(traces_url(receiver.address), wait=waits.append, **options)


def test_request_arrives_compressed_with_its_headers(receiver: Receiver) -> None:
    poster(receiver, [], headers={"Authorization": "Bearer x"}).post(b"request")
    ((path, headers, body),) = receiver.got
    assert (path, gzip.decompress(body)) == ("/v1/traces", b"request")
    assert headers.items() >= {
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
        ("authorization", "Bearer x"),
    }


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_busy_receiver_gets_the_request_again(receiver: Receiver, status: int) -> None:
    waits: list[float] = []
    receiver.answers = [(status, {"Retry-After": "7"}, b""), (status, {}, b""), (status, {}, b"")]
    poster(receiver, waits).post(b"request")
    assert [gzip.decompress(body) for _, _, body in receiver.got] == [b"request"] * 4
    assert waits[0] == 7
    assert 1 <= waits[1] <= 2 <= waits[2] <= 4


@pytest.mark.parametrize(
    ("asked", "bounds"),
    [(formatdate(0), (0, 0)), (formatdate(4e9), (60, 60)), ("3600", (60, 60)), ("soon", (0.5, 1)), ("-1", (0.5, 1))],
)
def test_retry_after_may_be_a_date_and_is_bounded(receiver: Receiver, asked: str, bounds: tuple[float, float]) -> None:
    waits: list[float] = []
    receiver.answers = [(503, {"Retry-After": asked}, b"")]
    poster(receiver, waits).post(b"")
    assert bounds[0] <= waits[0] <= bounds[1]


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 302])
def test_refusal_is_final_and_says_why(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {"Location": "/other"} if status == 302 else {}, b"no such tenant")]
    with pytest.raises(DeliveryError, match=f"refused: {status} .*no such tenant"):
        poster(receiver, []).post(b"")
    assert len(receiver.got) == 1


def test_receiver_that_stays_busy_or_away_is_given_up(receiver: Receiver) -> None:
    waits: list[float] = []
    receiver.answers = [(503, {}, b"")] * 10
    with pytest.raises(DeliveryError, match="not taken in 6 attempts; the last: 503"):
        poster(receiver, waits).post(b"")
    assert (len(receiver.got), len(waits)) == (6, 5)
    with pytest.raises(DeliveryError, match="not taken in 6 attempts"):
        TracePoster("http://127.0.0.1:1/v1/traces", wait=waits.append).post(b"")


def test_rejected_spans_are_counted(receiver: Receiver) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans, answer.partial_success.error_message = 3, "too old"
    receiver.answers = [(200, {}, answer.SerializeToString()), (200, {}, b"\xff<html>")]
    sender = poster(receiver, [])
    sender.post(b"")
    sender.post(b"")
    assert (sender.rejected, sender.reason) == (3, "too old")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://a:4318", "http://a:4318/v1/traces"),
        ("https://a/otlp/", "https://a/otlp/v1/traces"),
        ("http://a/v1/traces?token=x", "http://a/v1/traces?token=x"),
    ],
)
def test_endpoint_may_be_a_base_or_the_whole_address(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url


@pytest.mark.parametrize("endpoint", ["file:///etc/passwd", "localhost:4318", "http://"])
def test_endpoint_that_is_not_http_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="expected an address"):
        traces_url(endpoint)
