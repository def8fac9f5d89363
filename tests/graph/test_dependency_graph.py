"""The snapshot of a window: its edges, nodes, coverage, blast radius, and what each export says of them."""

import json
import math
from dataclasses import replace

import networkx as nx
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollup_tables import edge, graph, histogram, rollups

from hypocenter.errors import GraphError
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.edges import EDGE_COLUMNS
from hypocenter.graph.rollup import SCHEMAS
from hypocenter.tracer.window import SECOND_NS, Window


def shop() -> DependencyGraph:
    return graph(
        edge("external", "web", 100, errors=5),
        edge("web", "cart", 60, errors=6),
        edge("web", "orders", 40),
        edge("cart", "redis", 60, callee_kind="cache"),
        edge("orders", "redis", 20, callee_kind="cache"),
        edge("orders", "db", 80, callee_kind="database"),
        end_s=20,
    )


def test_steps_of_an_edge_are_added_and_others_left_out() -> None:
    made = graph(edge("a", "b", 3, errors=1), edge("a", "b", 4, at_s=10), edge("a", "b", 99, at_s=20), end_s=20)
    (row,) = made.edges[["source", "target", "count", "errors", "error_ratio", "rate_per_s"]].to_dict("records")
    assert row == {"source": "a", "target": "b", "count": 7, "errors": 1, "error_ratio": 1 / 7, "rate_per_s": 7 / 20}


def test_a_window_takes_the_steps_that_start_in_it() -> None:
    tables = rollups(edge("a", "b", 1, at_s=0), edge("a", "b", 2, at_s=10), edge("a", "b", 4, at_s=20))
    made = DependencyGraph.of(tables, Window(5 * SECOND_NS, 21 * SECOND_NS))
    assert made.edges["count"].tolist() == [6]


def test_rate_undoes_sampling_and_count_does_not() -> None:
    made = graph(edge("a", "b", 10, adjusted_milli=80_000))
    assert made.edges.loc[0, ["count", "adjusted_count", "rate_per_s"]].tolist() == [10, 80, 8]


def test_quantiles_are_those_of_all_steps_together() -> None:
    made = graph(
        edge("a", "b", 10, client_duration=histogram({0.001: 10})),
        edge("a", "b", 10, at_s=10, client_duration=histogram({0.064: 9, 1.0: 1})),
        end_s=20,
    )
    assert made.edges.loc[0, "client_p50_s"] == pytest.approx(0.001, rel=0.03)
    assert made.edges.loc[0, "client_p95_s"] == pytest.approx(0.064, rel=0.03)


def test_a_side_that_was_not_recorded_has_no_duration() -> None:
    made = graph(edge("a", "db", errors=2, callee_kind="database", client_duration=histogram({0.01: 10})))
    assert made.edges[["server_errors", "server_p50_s", "gap_p50_s"]].isna().all(axis=None)
    assert made.edges.loc[0, "client_errors"] == 2
    assert made.to_json()["edges"][0]["server_p50_s"] is None


def test_timeouts_and_critical_path_are_those_of_recorded_sides() -> None:
    timed = graph(
        edge("web", "cart", 10, timeouts=3, critical_ns=2 * SECOND_NS),
        edge("external", "web", 10, client_count=0, critical_ns=8 * SECOND_NS),
    )
    assert timed.edges["critical_share"].isna().all()
    operations = {"time_ns": 0, "service": "web", "operation": "get", "kind": 2, "count": 1, "adjusted_milli": 1000}
    operations |= {"errors": 0, "missing_parents": 0, "critical_ns": 8 * SECOND_NS, "duration": [], "exclusive": []}
    table = pa.Table.from_pylist([operations], SCHEMAS["operations"])
    timed = DependencyGraph(replace(timed.rollups, operations=table), timed.windows)
    found = timed.edges.set_index("target")
    assert found["timeouts"].to_dict() == {"cart": 3, "web": None}
    assert found["critical_share"].to_dict() == {"cart": 0.25, "web": 1.0}


def test_calls_of_a_request_are_counted_where_a_service_makes_them() -> None:
    found = graph(
        edge("web", "cart", 10, errors=3, caller_requests=4, retries=3, hedges=1, http_5xx=2),
        edge("external", "web", 4, client_count=0),
        edge("web", "mesh", 5, client_count=0, server_count=0, caller_requests=0),
    ).edges.set_index("target")[["calls_per_request", "retries", "hedges", "http_4xx", "http_5xx"]]
    assert found.astype(object).where(found.notna(), None).T.to_dict("list") == {
        "cart": [2.5, 3, 1, 0, 2],
        "web": [None, None, None, 0, 0],
        "mesh": [None, None, None, None, None],
    }


def test_edges_over_time_are_the_graphs_of_the_steps() -> None:
    made = graph(edge("a", "b", 1), edge("a", "b", 2, at_s=60), edge("a", "c", 4, at_s=70), end_s=90)
    found = made.over_time()
    assert list(zip(found["start"], found["target"], found["count"], found["rate_per_s"], strict=True)) == [
        ("1970-01-01T00:00:00Z", "b", 1, 1 / 60),
        ("1970-01-01T00:01:00Z", "c", 4, 4 / 30),
        ("1970-01-01T00:01:00Z", "b", 2, 2 / 30),
    ]
    assert made.over_time(90 * SECOND_NS).drop(columns="start").equals(made.edges)
    with pytest.raises(ValueError, match="a multiple of 10 s"):
        made.over_time(SECOND_NS)


def test_negative_gaps_are_kept() -> None:
    made = graph(edge("a", "b", 1, gap=[{"bucket": -161, "count": 1}]))
    assert made.edges.loc[0, "gap_p50_s"] == pytest.approx(-1024e-9, rel=0.03)


def test_node_kind_is_what_its_edges_say_and_a_service_is_a_service() -> None:
    made = graph(edge("external", "web"), edge("web", "db", callee_kind="database"), edge("web", "db2"),
                 edge("cart", "db2", callee_kind="external"))  # fmt: skip
    kinds = dict(zip(made.nodes["id"], made.nodes["kind"], strict=True))
    assert kinds == {"external": "entry", "web": "service", "db": "database", "db2": "service", "cart": "service"}


def test_a_service_without_calls_is_a_node_of_its_own() -> None:
    made = graph(edge("web", "cart"), namespaces={"nightly": "jobs", "cart": "shop"})
    assert made.nodes[["id", "kind", "namespace"]].fillna("").to_numpy().tolist() == [
        ["cart", "service", "shop"],
        ["nightly", "service", "jobs"],
        ["web", "service", ""],
    ]
    assert made.nodes.set_index("id").loc["nightly", ["count", "rate_per_s", "server_p50_s"]].isna().all()
    assert sorted(made.to_networkx()) == ["cart", "nightly", "web"]


def test_a_broker_and_an_unrecorded_caller_are_no_services() -> None:
    made = graph(
        edge("web", "orders", callee_kind="messaging"),
        edge("orders", "mail", caller_kind="messaging"),
        edge("unknown", "audit", caller_kind="unknown"),
    )
    kinds = dict(zip(made.nodes["id"], made.nodes["kind"], strict=True))
    expected = {"web": "service", "orders": "messaging", "mail": "service", "audit": "service", "unknown": "unknown"}
    assert kinds == expected


def test_node_that_nobody_calls_has_unknown_traffic() -> None:
    web = graph(edge("external", "web", 4), edge("web", "db", 8)).nodes.set_index("id")
    assert pd.isna(web.loc["external", "count"])
    assert web.loc["web", ["count", "calls_made"]].tolist() == [4, 8]


def test_empty_window_is_an_empty_graph() -> None:
    made = graph()
    assert made.edges.columns.tolist() == EDGE_COLUMNS
    assert made.to_json() == {
        "window": {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:00:10Z"},
        "nodes": [],
        "edges": [],
        "coverage": {"spans": 0, "linked": 0, "unlinked": {}, "explained_ratio": None, "by_service": {}},
    }


def test_coverage_counts_every_span_once() -> None:
    lost = (("web", "in-process", 3), ("web", "client-without-peer", 1), ("cart", "duplicate", 2))
    coverage = graph(edge("external", "web", 4), edge("web", "cart", 5), unlinked=lost).coverage
    assert coverage.to_dict() == {
        "spans": 20,
        "linked": 14,
        "unlinked": {"client-without-peer": 1, "duplicate": 2, "in-process": 3},
        "explained_ratio": pytest.approx(19 / 20),
        "by_service": {
            "cart": {"spans": 7, "linked": 5, "client-without-peer": 0, "duplicate": 2, "in-process": 0},
            "web": {"spans": 13, "linked": 9, "client-without-peer": 1, "duplicate": 0, "in-process": 3},
        },
    }


def test_json_follows_its_contract() -> None:
    made = json.loads(json.dumps(shop().to_json(), allow_nan=False))
    assert list(made) == ["window", "nodes", "edges", "coverage"]
    assert {"id": "redis", "kind": "cache"}.items() <= next(n for n in made["nodes"] if n["id"] == "redis").items()
    expected = {"source": "web", "target": "cart", "kind": "service", "count": 60, "errors": 6, "error_ratio": 0.1}
    assert expected.items() <= next(e for e in made["edges"] if e["target"] == "cart").items()


edges_anywhere = st.lists(
    st.builds(
        lambda caller, callee, step, count, size: edge(
            caller, callee, count, at_s=10 * step, client_duration=histogram({2.0**size: count})
        ),
        st.sampled_from("abc"),
        st.sampled_from("abc"),
        st.integers(0, 5),
        st.integers(1, 9),
        st.integers(-10, 3),
    ),
    max_size=12,
)


@given(edges_anywhere, st.integers(1, 5), st.randoms())
@settings(max_examples=50, deadline=None)
def test_merge_of_two_windows_is_the_graph_of_both(edges: list, cut: int, random) -> None:
    random.shuffle(edges)
    early = DependencyGraph.of(rollups(*edges), Window(0, cut * 10 * SECOND_NS))
    late = DependencyGraph.of(rollups(*edges), Window(cut * 10 * SECOND_NS, 60 * SECOND_NS))
    whole = DependencyGraph.of(rollups(*edges), Window(0, 60 * SECOND_NS)).to_json()
    assert early.merge(late).to_json() == late.merge(early).to_json() == whole


def test_rate_of_merged_windows_leaves_out_the_gap_between() -> None:
    tables = rollups(edge("a", "b", 10), edge("a", "b", 30, at_s=90))
    first = DependencyGraph.of(tables, Window(0, 10 * SECOND_NS))
    last = DependencyGraph.of(tables, Window(90 * SECOND_NS, 100 * SECOND_NS))
    assert first.merge(last).edges["rate_per_s"].tolist() == [2.0]


def test_networkx_carries_what_is_known() -> None:
    made = shop().to_networkx()
    assert nx.has_path(made, "external", "db")
    assert made.edges["web", "cart"]["errors"] == 6
    assert "client_p50_s" not in made.edges["web", "cart"]


def test_downstream_multiplies_calls_along_the_way() -> None:
    found = shop().downstream("web").set_index("id")["calls_per_call"].to_dict()
    assert found == pytest.approx({"cart": 0.6, "orders": 0.4, "redis": 0.8, "db": 0.8})


def test_upstream_shares_say_by_way_of_whom_calls_come() -> None:
    found = shop().upstream("redis").set_index("id")[["hops", "share"]].to_dict("index")
    assert found == {
        "cart": {"hops": 1, "share": 0.75},
        "orders": {"hops": 1, "share": 0.25},
        "web": {"hops": 2, "share": 1.0},
        "external": {"hops": 3, "share": 1.0},
    }


def test_a_cycle_is_walked_once() -> None:
    made = graph(edge("external", "a", 10), edge("a", "b", 10), edge("b", "a", 10), edge("b", "b", 10))
    assert made.downstream("a").set_index("id")["calls_per_call"].to_dict() == {"b": 0.5}
    assert made.upstream("b")["id"].tolist() == ["a", "external"]


def test_entry_points_affected_are_those_that_reach_the_node() -> None:
    made = graph(
        edge("external", "web", 30), edge("external", "admin", 70), edge("web", "cart", 5), edge("cron", "cart", 1)
    )
    assert made.entry_points_affected("cart")[["id", "hops"]].to_dict("list") == {"id": ["web", "cron"], "hops": [1, 1]}
    assert made.entry_points_affected("cart")["share"].iloc[0] == 0.3


def test_cut_services_are_the_only_way_to_others() -> None:
    found = shop().cut_services()[["id", "cuts_off", "calls"]].to_dict("records")
    assert found == [
        {"id": "web", "cuts_off": 4, "calls": 260},
        {"id": "orders", "cuts_off": 1, "calls": 80},
    ]


def test_unknown_node_is_refused() -> None:
    with pytest.raises(GraphError, match="no node 'nope'"):
        shop().upstream("nope")


def test_repr_says_window_size_and_coverage() -> None:
    text = repr(graph(edge("a", "b", 1234)))
    assert text == (
        "<DependencyGraph 1970-01-01T00:00:00Z/1970-01-01T00:00:10Z: 2 nodes, 1 edges, 1,234 calls; "
        "2,468 spans, 2,468 in calls (100.0% explained)>"
    )


def test_criticality_is_what_hangs_on_a_node() -> None:
    made = graph(
        edge("external", "web", 30), edge("external", "admin", 70), edge("web", "cart", 5), edge("admin", "cart", 1),
        edge("cart", "db", 6, callee_kind="database"),
    )  # fmt: skip
    assert made.criticality().drop(columns="kind").values.tolist() == [
        ["cart", 1.0, 2, 1],
        ["db", 1.0, 3, 0],
        ["admin", 0.7, 0, 0],
        ["web", 0.3, 0, 0],
    ]


@given(st.lists(st.tuples(st.sampled_from("uabcdef"), st.sampled_from("abcdef")), min_size=1, max_size=14, unique=True))
@settings(max_examples=60, deadline=None)
def test_criticality_and_cuts_are_those_of_taking_each_node_away(pairs: list[tuple[str, str]]) -> None:
    made = graph(*(edge("external" if a == "u" else a, b, 10) for a, b in pairs))
    calls = made.to_networkx()
    outside = [n for n in calls if n == "external" or not set(calls.predecessors(n)) - {n}]

    def reached(without: str | None) -> set[str]:
        left = calls.subgraph([n for n in calls if n != without])
        return {m for n in outside if n in left for m in {n, *nx.descendants(left, n)}}

    lost = {n: len(reached(None) - reached(n) - {n}) for n in calls if n != "external"}
    found = made.criticality().set_index("id")
    assert found["cuts_off"].to_dict() == lost
    for node, row in found.iterrows():
        above = nx.ancestors(calls, node) - {"external", node}
        assert row["dependents"] == len(above)
        entered = [d["rate_per_s"] for _, v, d in calls.out_edges("external", data=True) if v in {node, *above}]
        total = sum(d["rate_per_s"] for *_, d in calls.out_edges("external", data=True)) if "external" in calls else 0
        assert (
            row["traffic_share"] == pytest.approx(sum(entered) / total) if total else math.isnan(row["traffic_share"])
        )
