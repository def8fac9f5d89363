"""Replicas and versions: seen per window, compared over a rollout, and as nodes of their own."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hypocenter.errors import GraphError
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.replicas import rollout_ns
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import SECOND_NS, Window

T0 = 1_700_000_000 * SECOND_NS
OLD = {"service_version": "1.4", "pod": "cart-old", "environment": "prod"}
NEW = {"service_version": "1.5", "pod": "cart-new", "environment": "prod"}


def request(number: int, at_s: float, told: dict[str, Any], *, failed: bool = False) -> list[dict[str, Any]]:
    row = dict.fromkeys(SPANS.names) | {"trace_id": f"t{number}", "name": "get", "status": 0, "adjusted_milli": 1000}
    row |= {"source": "x", "start_ns": T0 + int(at_s * SECOND_NS), "duration_ns": 10**7}
    client = row | {"span_id": "a", "kind": 3, "service": "web", "pod": "web-1"}
    server = row | {"span_id": "b", "parent_span_id": "a", "kind": 2, "service": "cart", "status": 2 if failed else 0}
    return [client, server | told]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    rows = [row for i in range(300) for row in request(i, i, OLD)]
    rows += [row for i in range(300, 600) for row in request(i, i, NEW, failed=i % 3 == 0)]
    store = Store(tmp_path / "store", create=True)
    store.append(Batch({"spans": pa.Table.from_pylist(rows, SPANS)}))
    return store


def test_instances_tell_who_answered(store: Store) -> None:
    found = DependencyGraph.read(store).instances
    names = ["service", "version", "environment", "pod", "requests", "errors"]
    assert found[names].astype(object).where(found[names].notna(), None).to_numpy().tolist() == [
        ["cart", "1.5", "prod", "cart-new", 300, 100],
        ["cart", "1.4", "prod", "cart-old", 300, 0],
        ["web", None, None, "web-1", 300 * 2, 0],
    ]
    assert found["server_p50_s"].tolist()[:2] == pytest.approx([0.01, 0.01], rel=0.03)


def test_rates_of_replicas_and_requests_of_versions_undo_sampling(tmp_path: Path) -> None:
    # The client's own span stands for more than the request that it makes.
    spans = [row for i in range(20) for row in request(i, i, OLD if i < 10 else NEW)]
    weight = {None: 1_000, "1.4": 4_000, "1.5": 16_000}
    spans = [row | {"adjusted_milli": weight[row["service_version"]]} for row in spans]
    inside = [row | {"span_id": "c", "parent_span_id": "b", "kind": 1, "adjusted_milli": 64_000} for row in spans[1::2]]
    store = Store(tmp_path / "store", create=True)
    store.append(Batch({"spans": pa.Table.from_pylist([*spans, *inside], SPANS)}))
    graph = DependencyGraph.read(store, Window(T0, T0 + 20 * SECOND_NS))
    found = graph.instances[["pod", "spans", "requests", "adjusted_requests", "rate_per_s"]].to_numpy().tolist()
    assert found == [
        ["cart-new", 20, 10, 160.0, 8.0],
        ["cart-old", 20, 10, 40.0, 2.0],
        ["web-1", 20, 20, 20.0, 1.0],
    ]
    versions = graph.versions[["version", "requests", "adjusted_requests", "errors"]].to_numpy().tolist()
    assert versions == [["1.4", 10, 40.0, 0], ["1.5", 10, 160.0, 0]]


def test_diff_names_versions_that_came_and_went_with_what_changed(store: Store) -> None:
    graph = DependencyGraph.read(store)
    onset = rollout_ns(graph, "cart")
    assert onset == T0 + 300 * SECOND_NS
    before = DependencyGraph.read(store, Window(graph.window.start_ns, onset))
    found = before.diff(DependencyGraph.read(store, Window(onset, graph.window.end_ns)))
    assert found.versions.to_numpy().tolist() == [
        ["cart", "1.4", "vanished", 300, 0],
        ["cart", "1.5", "appeared", 0, 300],
    ]
    assert found.changed["measure"].tolist() == ["error_ratio"]
    assert "version appeared: cart 1.5" in str(found)
    assert [row["version"] for row in found.to_json()["versions"]] == ["1.4", "1.5"]


def test_a_service_without_a_rollout_is_refused_with_what_is_known(store: Store) -> None:
    with pytest.raises(GraphError, match=r"no version of 'web' appeared in .* name cart 1.4, cart 1.5"):
        rollout_ns(DependencyGraph.read(store), "web")


@pytest.mark.parametrize(
    ("by", "edges"),
    [
        ("pod", [("web-1", "cart-new", 300), ("web-1", "cart-old", 300)]),
        ("version", [("web", "cart@1.4", 300), ("web", "cart@1.5", 300)]),
        ("environment", [("web", "cart@prod", 600)]),
        ("cluster", [("web", "cart", 600)]),
        ("operation", [("web get", "cart get", 600)]),
    ],
)
def test_services_are_told_apart_on_demand(store: Store, by: str, edges: list[tuple[str, str, int]]) -> None:
    made = DependencyGraph.read(store, by=by)
    assert sorted(made.edges[["source", "target", "count"]].itertuples(index=False, name=None)) == edges
    assert made.coverage.spans == 1200


def test_deployments_that_are_told_apart_anyhow_are_named_by_a_version_or_an_environment_once(tmp_path: Path) -> None:
    places = ("prod", "staging")
    spans = [row for n, place in enumerate(places) for row in request(n, n, OLD | {"environment": place})]
    store = Store(tmp_path / "store", create=True)
    store.append(Batch({"spans": pa.Table.from_pylist(spans, SPANS)}))
    found = {by: sorted(DependencyGraph.read(store, by=by).edges["target"]) for by in ("environment", "version")}
    assert found == {
        "environment": ["cart@prod", "cart@staging"], "version": ["cart@prod@1.4", "cart@staging@1.4"],
    }  # fmt: skip


def test_services_are_not_told_apart_by_anything(store: Store) -> None:
    with pytest.raises(GraphError, match="told apart by pod, version, environment, cluster, operation, not 'colour'"):
        DependencyGraph.read(store, by="colour")


def test_graph_of_operations_says_which_request_makes_which_calls(tmp_path: Path) -> None:
    def span(trace: str, span_id: str, parent: str | None, service: str, kind: int, name: str) -> dict[str, Any]:
        row = dict.fromkeys(SPANS.names) | {
            "trace_id": trace,
            "span_id": span_id,
            "parent_span_id": parent,
            "status": 0,
        }
        row |= {"start_ns": T0, "duration_ns": 10**7, "adjusted_milli": 1000, "source": "x"}
        return row | {"service": service, "kind": kind, "name": name}

    rows = [
        span("t", "a", None, "web", 2, "GET /pay"),
        span("t", "i", "a", "web", 1, "render"),
        span("t", "b", "i", "web", 3, "POST"),
        span("t", "c", "b", "cart", 2, "POST /checkout"),
        span("t", "d", "c", "cart", 3, "SELECT") | {"db_system": "postgresql", "db_name": "carts"},
        span("u", "a", None, "web", 2, "GET /home"),
        span("u", "b", "a", "cart", 2, "GET /cart"),
    ]
    store = Store(tmp_path / "operations", create=True)
    store.append(Batch({"spans": pa.Table.from_pylist(rows, SPANS)}))
    made = DependencyGraph.read(store, by="operation")
    assert sorted(made.edges[["source", "target", "kind"]].itertuples(index=False, name=None)) == [
        ("cart POST /checkout", "carts", "database"),
        ("external", "web GET /home", "entry"),
        ("external", "web GET /pay", "entry"),
        ("web GET /home", "cart GET /cart", "service"),
        ("web GET /pay", "cart POST /checkout", "service"),
    ]
    assert made.coverage.by_service.set_index("service")["spans"].to_dict() == {
        "cart GET /cart": 1,
        "cart POST /checkout": 2,
        "web GET /home": 1,
        "web GET /pay": 3,
    }
