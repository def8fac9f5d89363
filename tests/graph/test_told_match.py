"""Calls that spans and metrics both tell of count once, whatever metrics call the two ends; the rest is counted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from linking_scenarios import SCENARIOS
from rollup_tables import edge, rollups

from benchmarks.generate import START_NS, span_tables
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.doctor import findings
from hypocenter.graph.edges import over_time
from hypocenter.graph.told_match import CONSUMER
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.ingest import ingest
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import SECOND_NS, Window

TEN_S = Window(0, 10 * SECOND_NS)
RECORDED = Path(__file__).parent / "collector_metrics.txt"


def told(caller: str, callee: str, count: int, kind: str = "service", **more: Any) -> dict[str, Any]:
    return edge(caller, callee, count, callee_kind=kind, client_count=0, server_count=0, **more)


def database(caller: str, callee: str, count: int) -> dict[str, Any]:
    return edge(caller, callee, count, callee_kind="database")


def message(producer: str, broker: str, consumer: str, count: int) -> Iterator[dict[str, Any]]:
    yield edge(producer, broker, count, callee_kind="messaging")
    yield edge(broker, consumer, count, caller_kind="messaging", client_count=0, caller_requests=0)


def merged(spans: list[dict[str, Any]], *metrics: dict[str, Any], **more: Any) -> DependencyGraph:
    return DependencyGraph.of(rollups(*spans, **more), TEN_S).with_metrics(rollups(*metrics))


def edges(graph: DependencyGraph) -> dict[tuple[str, str], tuple[int, str]]:
    rows = graph.edges[["source", "target", "count", "known_from"]].itertuples(index=False, name=None)
    return {(source, target): (count, known_from) for source, target, count, known_from in rows}


BOTH, TRACES, METRICS = "traces and metrics", "traces", "metrics"


def test_message_that_metrics_tell_from_producer_to_consumer_is_the_two_calls_of_its_broker() -> None:
    graph = merged([*message("web", "orders", "mail", 9)], told("web", "mail", 9, CONSUMER))
    assert edges(graph) == {("web", "orders"): (9, BOTH), ("orders", "mail"): (9, BOTH)}


def test_message_that_may_have_gone_through_either_of_two_brokers_is_counted_at_none() -> None:
    spans = [*message("web", "orders", "mail", 9), *message("web", "bills", "mail", 4)]
    graph = merged(spans, told("web", "mail", 13, CONSUMER))
    assert set(edges(graph).values()) == {(9, TRACES), (4, TRACES)}
    assert graph.matched.covered == {("web", "mail"): 13}


def test_request_and_message_of_the_same_two_services_are_an_edge_each() -> None:
    graph = merged([*message("web", "orders", "mail", 9)], told("web", "mail", 9, CONSUMER), told("web", "mail", 5))
    assert edges(graph) == {
        ("web", "orders"): (9, BOTH), ("orders", "mail"): (9, BOTH), ("web", "mail"): (5, METRICS),
    }  # fmt: skip


def test_message_of_a_broker_that_spans_do_not_show_is_an_edge_from_producer_to_consumer() -> None:
    graph = merged([edge("web", "cart", 3)], told("web", "mail", 9, CONSUMER))
    assert edges(graph) == {("web", "cart"): (3, TRACES), ("web", "mail"): (9, METRICS)}
    assert dict(zip(graph.nodes["id"], graph.nodes["kind"], strict=True))["mail"] == "service"


def test_message_that_begins_a_trace_is_no_request_from_outside() -> None:
    graph = merged(
        [*message("web", "orders", "mail", 9)], told("web", "mail", 6, CONSUMER), told("external", "mail", 3)
    )
    assert edges(graph) == {("web", "orders"): (9, BOTH), ("orders", "mail"): (9, BOTH)}
    more = merged([*message("web", "orders", "mail", 9)], told("web", "mail", 9, CONSUMER), told("external", "mail", 3))
    assert edges(more)["external", "mail"] == (3, METRICS)


def test_database_that_metrics_name_otherwise_is_the_callers_of_which_spans_tell_as_many_calls() -> None:
    graph = merged([database("cart", "db-1:5432", 20)], told("cart", "shop", 21, "database"))
    assert edges(graph) == {("cart", "db-1:5432"): (20, BOTH)}
    assert graph.matched.rules == {("cart", "shop"): "peer"}


def test_databases_of_other_names_are_counted_at_none_where_there_are_several() -> None:
    spans = [database("cart", "db-1", 20), edge("cart", "redis-1", 5, callee_kind="cache")]
    graph = merged(spans, told("cart", "shop", 20, "database"), told("cart", "sessions", 5, "database"))
    assert edges(graph) == {("cart", "db-1"): (20, TRACES), ("cart", "redis-1"): (5, TRACES)}
    assert graph.matched.covered == {("cart", "sessions"): 5, ("cart", "shop"): 20}
    (found,) = (f for f in findings(graph) if f.title.startswith("calls of metrics"))
    assert found.subjects == (("cart -> shop (peer)", 20), ("cart -> sessions (peer)", 5))


@pytest.mark.parametrize(
    "spans",
    [[database("cart", "db-1", 20)], [database("pay", "db-1", 90)], [edge("cart", "mq", 90, callee_kind="messaging")]],
    ids=["fewer-calls", "of-another-caller", "of-another-kind"],
)
def test_database_that_metrics_alone_tell_of_is_an_edge(spans: list[dict[str, Any]]) -> None:
    graph = merged(spans, told("cart", "shop", 90, "database"))
    assert edges(graph)["cart", "shop"] == (90, METRICS)
    assert len(graph.edges) == 2


def test_database_that_metrics_name_as_spans_do_stands_for_no_other() -> None:
    graph = merged(
        [database("cart", "db-1", 90)], told("cart", "db-1", 90, "database"), told("cart", "b", 9, "database")
    )
    assert edges(graph) == {("cart", "db-1"): (90, BOTH), ("cart", "b"): (9, METRICS)}


def test_address_that_span_metrics_give_a_service_with_spans_is_that_service() -> None:
    graph = merged([edge("web", "cart", 20)], told("web", "10.0.0.7", 20, "external"))
    assert edges(graph) == {("web", "cart"): (20, BOTH)}


def test_host_that_begins_with_the_name_of_a_callee_is_that_callee() -> None:
    spans = [edge("web", "cart", 20), edge("web", "pay", 9)]
    graph = merged(spans, told("web", "cart.shop.svc:8080", 90, "external"), told("web", "stripe.com", 5, "external"))
    # Spans are a sample here; what is left of the calls is too little to be the other peer as well.
    assert edges(graph)["web", "cart"] == (20, BOTH)
    assert ("web", "cart.shop.svc:8080") not in edges(graph)
    assert graph.edges.set_index("target").loc["cart", "adjusted_count"] == 90


def test_plain_name_is_the_only_node_of_that_name() -> None:
    spans = [edge("shop/web", "shop/cart", 20)]
    graph = merged(
        spans, told("web", "cart", 20), told("cart", "bank", 2), namespaces={"shop/web": "shop", "shop/cart": "shop"}
    )
    assert edges(graph) == {("shop/web", "shop/cart"): (20, BOTH), ("shop/cart", "bank"): (2, METRICS)}


def test_plain_name_that_several_nodes_have_is_counted_at_none_where_spans_tell_of_both() -> None:
    spans = [edge("web", "shop/cart", 20), edge("web", "bank/cart", 4)]
    graph = merged(spans, told("web", "cart", 24), namespaces={"bank/cart": "bank", "shop/cart": "shop"})
    assert edges(graph) == {("web", "shop/cart"): (20, TRACES), ("web", "bank/cart"): (4, TRACES)}
    assert graph.matched.covered == {("web", "cart"): 24}


@pytest.mark.parametrize(("lost", "expected"), [(7, {}), (2, {("web", "unknown"): (7, METRICS)})])
def test_call_to_unknown_is_the_client_span_that_names_no_peer(lost: int, expected: dict[Any, Any]) -> None:
    spans = [edge("external", "web", 9)]
    graph = merged(spans, told("web", "unknown", 7, "external"), unlinked=(("web", "client-without-peer", lost),))
    assert edges(graph) == {("external", "web"): (9, TRACES)} | expected


def test_part_of_a_graph_is_matched_as_the_whole_and_so_are_groups() -> None:
    spans = [*message("web", "orders", "mail", 9), database("web", "db-1", 9)]
    # The samples of metrics come a step later than the spans.
    late = [told("web", "mail", 9, CONSUMER, at_s=60), told("web", "shop", 9, "database", at_s=60)]
    graph = DependencyGraph.of(rollups(*spans), Window(0, 120 * SECOND_NS)).with_metrics(rollups(*late))
    ends = over_time(graph)[["source", "target"]].drop_duplicates()
    assert set(ends.itertuples(index=False, name=None)) == {("web", "orders"), ("orders", "mail"), ("web", "db-1")}
    assert edges(graph.grouped({"db-1": "data"})) == {
        ("web", "orders"): (9, BOTH), ("orders", "mail"): (9, BOTH), ("web", "data"): (9, BOTH),
    }  # fmt: skip


def scenario_spans() -> pa.Table:
    """Return the spans of which `RECORDED` are the metrics that a Collector (contrib 0.128) wrote."""
    (generated,) = span_tables(2_000, services=12, seed=7, rate_per_s=200)
    return pa.concat_tables([*(scenario.spans() for scenario in SCENARIOS), generated])


@pytest.fixture(scope="module")
def spans_and_metrics(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("system")
    store = Store(folder / "store", create=True)
    store.append(Batch({"spans": scenario_spans()}))
    start_s = START_NS // SECOND_NS
    lines = []
    for line in RECORDED.read_text(encoding="utf-8").splitlines():
        series, _, value = line.rpartition(" ")
        # Counters of a scrape before the first span, and after the last one.
        is_sample = not line.startswith("#")
        lines += [f"{series} 0 {start_s - 1}", f"{series} {value} {start_s + 8}"] if is_sample else [line]
    (folder / "scrape.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert ingest([folder / "scrape.txt"], store).failed == 0
    return store


def test_service_graph_and_span_metrics_of_a_collector_add_no_call_to_its_spans(spans_and_metrics: Store) -> None:
    graph = DependencyGraph.read(spans_and_metrics)
    alone = DependencyGraph(graph.rollups, graph.windows)
    assert len(graph.told.edges) > 80
    assert graph.edges["count"].sum() == alone.edges["count"].sum() == alone.coverage.linked - graph_pairs(alone)
    assert set(edges(graph)) == set(edges(alone))
    assert set(graph.edges["known_from"]) == {TRACES, BOTH}
    assert set(graph.matched.rules.values()) == {"message", "peer", "no-peer", "consumed"}
    # The one that spans know to be an export that was repeated.
    sampled = graph.edges[graph.edges["rate_from"] == METRICS]
    assert sampled["source"].tolist() == ["export of both sides that was repeated/web"]


def graph_pairs(graph: DependencyGraph) -> int:
    """Return the calls that both of their sides tell of."""
    frame = graph.edges
    return int((frame["client_count"] + frame["server_count"] - frame["count"]).sum())


def test_every_call_that_metrics_tell_is_at_an_edge_or_counted_as_covered(spans_and_metrics: Store) -> None:
    graph = DependencyGraph.read(spans_and_metrics)
    given, found = (int(pa.compute.sum(t["count"]).as_py()) for t in (graph.told.edges, graph.matched.edges))
    messages = {pair for pair, rule in graph.matched.rules.items() if rule == "message"}
    twice = sum(
        row["count"]
        for row in graph.told.edges.to_pylist()
        if (row["caller"], row["callee"]) in messages and row["callee_kind"] == CONSUMER
    )
    assert found + sum(graph.matched.covered.values()) == given + twice
