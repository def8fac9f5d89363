"""Public files of other systems: each yields a graph, equal to Jaeger's published rule but for named differences.

Jaeger's rule (its memory storage and its dependencies job): a span whose parent is of another service is a call from
that service; spans that share an id are the two sides of one call. Where ours answers otherwise:

- a call whose caller was not recorded comes from `external`;
- a peer that reports no spans of its own (a database, a remote endpoint) is called as well;
- a service that calls itself over the network is an edge;
- a message goes by its broker: producer -> broker -> consumer in place of producer -> consumer;
- what was reported several times is counted once.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hypocenter.errors import DecodeError
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.link import link
from hypocenter.semconv import KIND_CLIENT, KIND_CONSUMER, KIND_PRODUCER, KIND_SERVER
from hypocenter.tracer.batch import concat
from hypocenter.tracer.detect import decode
from hypocenter.tracer.source import open_source

pytestmark = pytest.mark.shared
TRACES = {"otlp-json", "jaeger-ui-json", "jaeger-model-json", "zipkin-v2-json", "tempo-batches-json"}
Edges = Counter[tuple[str, str]]


@pytest.fixture(scope="module")
def fixtures(shared_data: Path) -> Path:
    return shared_data / "trace_fixtures"


def listed(folder: Path, formats: set[str]) -> list[Path]:
    rows = map(json.loads, (folder / "INDEX.jsonl").read_text(encoding="utf-8").splitlines())
    return [folder / row["file"] for row in rows if row["format"] in formats]


def spans_of(path: Path) -> pa.Table:
    with open_source(path) as source:
        return concat(decode(source)).table("spans")


def jaeger_edges(spans: list[dict[str, Any]]) -> Edges:
    """Return what Jaeger's rule counts, of spans that are not repeated; messages that cross a broker are left out."""
    spans = list({(s["trace_id"], s["span_id"], s["service"], s["kind"]): s for s in spans}.values())
    by_id = {(s["trace_id"], s["span_id"]): s for s in sorted(spans, key=lambda s: bool(s["kind"] == KIND_SERVER))}
    clients = {(s["trace_id"], s["span_id"]): s for s in spans if s["kind"] == KIND_CLIENT}
    found: Edges = Counter()
    for span in spans:
        other_side = clients.get((span["trace_id"], span["span_id"])) if span["kind"] == KIND_SERVER else None
        parent = other_side or by_id.get((span["trace_id"], span["parent_span_id"]))
        by_broker = span["kind"] == KIND_CONSUMER and parent is not None and parent["kind"] == KIND_PRODUCER
        if parent is not None and parent["service"] != span["service"] and not by_broker:
            found[parent["service"], span["service"]] += 1
    return found


def our_edges(spans: pa.Table) -> Edges:
    """Return our calls between two different services, both of which reported spans."""
    recorded = set(spans.column("service").to_pylist())
    calls = link(spans).calls.select(["caller", "callee"]).to_pylist()
    pairs = ((call["caller"], call["callee"]) for call in calls)
    return Counter(pair for pair in pairs if set(pair) <= recorded and pair[0] != pair[1])


def test_every_published_trace_yields_the_edges_of_jaegers_rule(fixtures: Path) -> None:
    differences = {}
    paths = listed(fixtures, TRACES)
    for path in paths:
        spans = spans_of(path)
        assert spans.num_rows > 0, path
        assert len(link(spans).calls) > 0, path
        ours, theirs = our_edges(spans), jaeger_edges(spans.to_pylist())
        if ours != theirs:
            differences[str(path)] = (ours - theirs, theirs - ours)
    assert len(paths) > 80
    assert differences == {}


@pytest.mark.parametrize(
    ("name", "edges"),
    [
        ("skew", {("external", "servicea"): 1, ("servicea", "serviceb"): 1}),
        ("messaging", {("external", "frontend"): 1, ("frontend", "rabbitmq"): 1, ("rabbitmq", "backend"): 1}),
        ("simple-db-p6", {("external", "bootifulmeters"): 1, ("bootifulmeters", "app_db"): 4}),
        ("messaging-kafka", {("kafka", "servicea"): 4, ("servicea", "kafka"): 9, ("kafka", "serviceb"): 3}),
    ],
)
def test_peers_and_brokers_of_zipkins_examples(fixtures: Path, name: str, edges: dict[tuple[str, str], int]) -> None:
    spans = spans_of(fixtures / f"openzipkin__zipkin/zipkin-lens/testdata/{name}.json")
    calls = link(spans).calls.select(["caller", "callee"]).to_pylist()
    assert Counter((call["caller"], call["callee"]) for call in calls) == edges


@pytest.mark.parametrize(("size", "edges"), [("small", 7), ("large", 4271)])
def test_dependencies_of_jaegers_page_import_and_draw(fixtures: Path, size: str, edges: int) -> None:
    (path,) = (p for p in listed(fixtures, {"jaeger-dependencies-json"}) if p.name == f"{size}.json")
    imported = DependencyGraph.from_file(path)
    assert len(imported.edges) == edges
    assert set(imported.figure().layout.meta["positions"]) == set(imported.nodes["id"])


def test_files_that_are_no_telemetry_are_refused(fixtures: Path) -> None:
    for path in listed(fixtures, {"not-json"}):
        with pytest.raises(DecodeError, match="in none of the known formats"):
            spans_of(path)
