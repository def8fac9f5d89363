"""Jaeger, Zipkin and query APIs: what their spans become."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.detect import decode, detect
from hypocenter.tracer.source import Source, decompressed, open_source

US = 1_700_000_000_000_000


def read(document: object) -> tuple[str, Batch]:
    source = Source("x.json", decompressed(io.BytesIO(json.dumps(document).encode())))
    reader = detect(source)
    return reader.NAME, concat(decode(source, reader))


def spans(batch: Batch, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return [tuple(row[c] for c in columns) for row in batch.table("spans").to_pylist()]


def jaeger(span: dict[str, object], **more: object) -> dict[str, object]:
    full = {"traceID": "A1", "spanID": "b", "operationName": "get", "startTime": US, "duration": 5, "processID": "p"}
    return {"traceID": "A1", "spans": [full | span], "processes": {"p": {"serviceName": "cart", "tags": []}}} | more


def reference(kind: str, trace: str, span: str) -> dict[str, str]:
    return {"refType": kind, "traceID": trace, "spanID": span}


def test_jaeger_ids_are_padded_and_times_are_nanoseconds() -> None:
    name, batch = read({"data": [jaeger({})]})
    columns = ["trace_id", "span_id", "parent_span_id", "service", "name", "start_ns", "duration_ns"]
    assert (name, spans(batch, columns)) == (
        "jaeger-json",
        [("a1".zfill(32), "b".zfill(16), None, "cart", "get", US * 1000, 5000)],
    )


def test_jaeger_parent_is_the_first_child_of_in_its_trace_and_the_rest_are_links() -> None:
    other, follows, child = (
        reference("CHILD_OF", "ff", "1"),
        reference("FOLLOWS_FROM", "A1", "2"),
        reference("CHILD_OF", "A1", "3"),
    )
    found = [read({"data": [jaeger({"references": refs})]})[1] for refs in ([other, follows, child], [other, follows])]
    assert [spans(batch, ["parent_span_id", "links"]) for batch in found] == [
        [
            (
                "3".zfill(16),
                [
                    {"trace_id": "ff".zfill(32), "span_id": "1".zfill(16)},
                    {"trace_id": "a1".zfill(32), "span_id": "2".zfill(16)},
                ],
            )
        ],
        [("2".zfill(16), [{"trace_id": "ff".zfill(32), "span_id": "1".zfill(16)}])],
    ]


def test_jaeger_tags_keep_their_types_and_fill_the_columns() -> None:
    tags = [
        {"key": "span.kind", "type": "string", "value": "client"},
        {"key": "error", "type": "bool", "value": "true"},
        {"key": "http.status_code", "type": "int64", "value": "503"},
        {"key": "peer.hostname", "type": "string", "value": "db-1"},
        {"key": "db.type", "type": "string", "value": "mysql"},
        {"key": "big", "type": "int64", "value": "9223372036854775222"},
        {"key": "blob", "type": "binary", "value": "AAAwOQ=="},
        {"key": "ratio", "type": "float64", "value": 1},
    ]
    logs = [{"timestamp": US, "fields": [{"key": "event", "type": "string", "value": "retry"}]}]
    batch = read({"data": [jaeger({"tags": tags, "logs": logs, "warnings": ["clock skew"]})]})[1]
    columns = ["kind", "status", "http_status", "peer_address", "db_system"]
    assert spans(batch, columns) == [(3, 2, 503, "db-1", "mysql")]
    ((attributes, events),) = spans(batch, ["attributes", "events"])
    found = dict(attributes)
    assert [found[key] for key in ("big", "blob", "ratio", "jaeger.warnings")] == [
        "9223372036854775222",
        '{"bytesValue":"AAAwOQ=="}',
        "1.0",
        '["clock skew"]',
    ]
    assert json.loads(events) == [{"time_ns": US * 1000, "name": "retry", "attributes": {}}]


def test_jaeger_mistakes_are_dropped_or_repaired_with_their_place() -> None:
    broken = [
        jaeger({"startTime": "soon"}),
        jaeger({"spanID": "0"}),
        jaeger({"duration": -1}),
        jaeger({}, processes={}),
    ]
    _, batch = read({"data": broken})
    assert batch.tally.dropped == {"malformed span": 1, "span without a span id": 1}
    assert batch.tally.repaired == {"end before start": 1, "service.name missing": 1}
    assert batch.tally.problems[0].startswith("x.json: byte 10: ValueError: ")


def test_zipkin_shared_pair_keeps_one_id_and_both_kinds() -> None:
    client = {
        "traceId": "7a",
        "id": "1",
        "kind": "CLIENT",
        "name": "get",
        "timestamp": US,
        "duration": 30,
        "localEndpoint": {"serviceName": "web"},
        "remoteEndpoint": {"serviceName": "cart", "ipv4": "10.0.0.1", "port": 80},
    }
    server = {
        "traceId": "7a",
        "id": "1",
        "kind": "SERVER",
        "timestamp": US + 5,
        "duration": 9,
        "localEndpoint": {"serviceName": "cart"},
        "remoteEndpoint": {"ipv4": "10.0.0.9"},
        "tags": {"error": "boom"},
        "shared": True,
    }
    name, batch = read([client, server])
    columns = ["span_id", "kind", "service", "peer_service", "peer_address", "status", "status_message"]
    assert (name, spans(batch, columns)) == (
        "zipkin-json",
        [
            ("1".zfill(16), 3, "web", "cart", "10.0.0.1", 0, None),
            ("1".zfill(16), 2, "cart", None, None, 2, "boom"),
        ],
    )
    assert dict(spans(batch, ["attributes"])[1][0])["client.address"] == '"10.0.0.9"'


def test_zipkin_span_without_a_timestamp_starts_at_its_first_annotation() -> None:
    base = {"traceId": "7a", "id": "1", "localEndpoint": {"serviceName": "a"}}
    annotations = [{"timestamp": US + 7, "value": "ws"}, {"timestamp": US, "value": "sr"}]
    batch = read([base | {"annotations": annotations}, base])[1]
    assert spans(batch, ["start_ns", "duration_ns"]) == [(US * 1000, 0)]
    assert batch.tally.dropped == {"span without a start time": 1}
    assert batch.tally.repaired == {"start taken from the first annotation": 1, "duration missing": 1}


HEX = ("3ba55609c3cde49649cd77d1f9dcd936", "49cd77d1f9dcd936")


@pytest.mark.parametrize("wrapper", ["batches", "trace", "result"])
@pytest.mark.parametrize("ids", [HEX, ("O6VWCcPN5JZJzXfR+dzZNg==", "Sc130fnc2TY=")])
def test_wrapped_otlp_is_read_with_ids_in_hex_or_base64(wrapper: str, ids: tuple[str, str]) -> None:
    span = {"traceId": ids[0], "spanId": ids[1], "name": "a", "startTimeUnixNano": "5", "endTimeUnixNano": "7"}
    found = [{"resource": {}, "scopeSpans": [{"spans": [span]}]}]
    name, batch = read({wrapper: found if wrapper == "batches" else {"resourceSpans": found}})
    assert (name, spans(batch, ["trace_id", "span_id", "duration_ns"])) == ("trace-api-json", [(*HEX, 2)])


@pytest.mark.shared
def test_every_published_fixture_yields_its_spans_or_is_a_graph(shared_data: Path) -> None:
    root = shared_data / "trace_fixtures"
    wrong = []
    for line in (root / "INDEX.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["format"] in ("other", "not-json") or not entry["items"]:
            continue
        with open_source(root / entry["file"]) as source:
            reader = detect(source)
            batch = concat(decode(source, reader))
        items = batch.table("spans").num_rows + sum(batch.tally.dropped.values())
        if items != entry["items"] or (reader.NAME == "dependency-graph") == (batch.table("spans").num_rows > 0):
            wrong.append((entry["file"], reader.NAME, items))
    assert wrong == []
