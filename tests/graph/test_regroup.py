"""Coarser nodes keep every call; sidecars join the service whose pods they share."""

import pyarrow as pa
import pytest
from rollup_tables import edge, rollups

from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.regroup import sidecars
from hypocenter.graph.rollup import SCHEMAS
from hypocenter.tracer.window import SECOND_NS, Window

TEN_S = Window(0, 10 * SECOND_NS)


def graph(*edges: dict, pods: dict[str, list[str]] | None = None, **more: dict) -> DependencyGraph:
    made = rollups(*edges, **more)
    rows = [
        dict.fromkeys(SCHEMAS["instances"].names, 0) | dict.fromkeys(["namespace", "version", "environment", "cluster"])
        | dict.fromkeys(["instance", "node"]) | {"service": service, "pod": pod, "duration": [], "exclusive": []}
        for service, names in (pods or {}).items() for pod in names
    ]  # fmt: skip
    if rows:
        object.__setattr__(made, "instances", pa.Table.from_pylist(rows, SCHEMAS["instances"]))
    return DependencyGraph.of(made, TEN_S)


def pairs(made: DependencyGraph) -> list[tuple[str, str, int]]:
    return sorted(made.edges[["source", "target", "count"]].itertuples(index=False, name=None))


def test_namespaces_sum_their_services_and_keep_inner_calls_as_their_own() -> None:
    edges = [
        edge("web", "cart", 5, errors=1), edge("web", "pay", 7), edge("cart", "pay", 2, errors=2),
        edge("web", "api", 3),
        edge("pay", "db", 4, callee_kind="database"), edge("external", "web", 9),
    ]  # fmt: skip
    made = graph(*edges, namespaces={"web": "shop", "api": "shop", "cart": "shop", "pay": "bank"}).by_namespace()
    assert pairs(made) == [("bank", "db", 4), ("external", "shop", 9), ("shop", "bank", 9), ("shop", "shop", 8)]
    told = made.edges.set_index(["source", "target"])
    assert told.loc[("shop", "bank"), "errors"] == 2
    assert dict(zip(made.nodes["id"], made.nodes["kind"], strict=True)) == {
        "bank": "service", "db": "database", "external": "entry", "shop": "service",
    }  # fmt: skip


def test_any_grouping_keeps_calls_and_spans() -> None:
    made = graph(edge("a", "b", 5), edge("b", "c", 4), unlinked=(("a", "in-process", 3),))
    team = made.grouped({"a": "red", "b": "red", "c": "blue"})
    assert (team.edges["count"].sum(), team.coverage.spans) == (9, made.coverage.spans)
    assert pairs(team) == [("red", "blue", 4), ("red", "red", 5)]


def test_group_of_one_kind_keeps_it_and_one_of_several_is_what_says_most() -> None:
    edges = [
        *(edge("cart", "db-1", 5, callee_kind="database"), edge("pay", "db-2", 4, callee_kind="database")),
        *(edge("pay", "redis", 3, callee_kind="cache"), edge("pay", "bank", 2, callee_kind="external")),
        *(edge("cart", "orders", 7, callee_kind="messaging"), edge("external", "cart", 9), edge("lone", "audit-db", 1)),
        edge("orders", "mail", 6, caller_kind="messaging"),
    ]
    groups = {"db-1": "data", "db-2": "data", "redis": "rest", "bank": "rest", "orders": "topics"}
    made = graph(*edges).grouped(groups | {"mail": "mailing", "audit-db": "lone"})
    assert dict(zip(made.nodes["id"], made.nodes["kind"], strict=True)) == {
        "cart": "service", "data": "database", "external": "entry", "lone": "service", "mailing": "service",
        "pay": "service", "rest": "cache", "topics": "messaging",
    }  # fmt: skip
    assert sorted(made.edges[["source", "target", "kind", "count"]].itertuples(index=False, name=None)) == [
        ("cart", "data", "database", 5), ("cart", "topics", "messaging", 7), ("external", "cart", "entry", 9),
        ("lone", "lone", "service", 1), ("pay", "data", "database", 4), ("pay", "rest", "cache", 5),
        ("topics", "mailing", "service", 6),
    ]  # fmt: skip


def test_group_that_only_metrics_tell_of_and_one_of_outsiders_keep_their_kinds() -> None:
    told = rollups(edge("cart", "db-2", 3, callee_kind="database", client_count=0, server_count=0))
    made = graph(edge("external", "cart", 9)).with_metrics(told).grouped({"db-2": "data", "external": "users"})
    assert dict(zip(made.nodes["id"], made.nodes["kind"], strict=True)) == {
        "cart": "service", "data": "database", "users": "entry",
    }  # fmt: skip


PODS = {
    "web": ["web-1", "web-2"], "web-envoy": ["web-1", "web-2"], "cart": ["cart-1"], "istio-proxy": ["cart-1"],
    "edge-proxy": ["edge-1"], "shared-sidecar": ["web-1", "cart-1"], "proxysql": ["cart-1"],
}  # fmt: skip


def test_a_sidecar_is_a_proxy_in_pods_of_exactly_one_service() -> None:
    assert sidecars(graph(pods=PODS)) == {"web-envoy": "web"}
    assert sidecars(graph(pods=PODS | {"proxysql": ["db-1"]})) == {"web-envoy": "web", "istio-proxy": "cart"}


def test_sidecars_collapse_to_one_call_and_no_span_is_lost() -> None:
    hops = [
        edge("web", "web-envoy"),
        edge("web-envoy", "istio-proxy"),
        edge("istio-proxy", "cart"),
        edge("web", "web", 2),
    ]
    shown = graph(*hops, pods=PODS | {"proxysql": ["db-1"]})
    collapsed = shown.without_sidecars()
    assert pairs(collapsed) == [("web", "cart", 10), ("web", "web", 2)]
    assert len(shown.edges) == 4
    assert collapsed.coverage.spans == shown.coverage.spans
    assert collapsed.coverage.unlinked["sidecar"] == 40


@pytest.mark.parametrize("pods", [None, {"web": ["web-1"]}])
def test_without_sidecars_nothing_changes(pods: dict[str, list[str]] | None) -> None:
    made = graph(edge("web", "cart"), pods=pods)
    assert made.without_sidecars() is made
