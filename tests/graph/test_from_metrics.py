"""Edges from the metrics of service graphs and meshes, alone and beside those of spans."""

from pathlib import Path
from typing import Any

import pytest
from rollup_tables import edge, histogram, rollups

from hypocenter.graph import from_metrics
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.rollup import empty
from hypocenter.tracer.ingest import ingest
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import SECOND_NS, Window

START_S = 1_700_000_000
WHOLE = Window(START_S * SECOND_NS, (START_S + 120) * SECOND_NS)
GRAPH = "traces_service_graph_request"


def labelled(name: str, value: float, at_s: float, **labels: str) -> str:
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value} {START_S + at_s}"


def told(tmp_path: Path, *lines: str, window: Window = WHOLE) -> DependencyGraph:
    """Return the graph of a scrape in OpenMetrics, as `hypocenter ingest` stores it."""
    families: dict[str, list[str]] = {}
    for line in lines:
        name = line.partition("{")[0]
        kind = "histogram" if name.endswith(("_bucket", "_count", "_sum")) else "counter"
        families.setdefault(f"# TYPE {name.rpartition('_')[0]} {kind}", []).append(line)
    text = "\n".join(line for head, body in families.items() for line in (head, *body)) + "\n# EOF\n"
    (tmp_path / "scrape.txt").write_text(text, encoding="utf-8")
    store = Store(tmp_path / "store", create=True)
    assert ingest([tmp_path / "scrape.txt"], store).failed == 0
    return DependencyGraph.of(empty(), window).with_metrics(from_metrics.read(store, window))


def rows(graph: DependencyGraph, *columns: str) -> list[tuple[Any, ...]]:
    return list(graph.edges[["source", "target", *columns]].itertuples(index=False, name=None))


def test_counters_give_what_they_grew_by(tmp_path: Path) -> None:
    ends = {"client": "web", "server": "cart", "connection_type": ""}
    made = told(
        tmp_path,
        *(labelled(f"{GRAPH}_total", value, at, **ends) for at, value in ((0, 10), (15, 40), (30, 100))),
        *(labelled(f"{GRAPH}_failed_total", value, at, **ends) for at, value in ((0, 1), (15, 1), (30, 7))),
    )
    assert rows(made, "count", "errors", "rate_per_s") == [("web", "cart", 90, 6, 0.75)]


def test_a_counter_that_fell_began_anew(tmp_path: Path) -> None:
    ends = {"client": "web", "server": "cart"}
    made = told(tmp_path, *(labelled(f"{GRAPH}_total", v, at, **ends) for at, v in ((0, 100), (15, 110), (30, 5))))
    assert rows(made, "count") == [("web", "cart", 15)]


def test_a_sample_before_the_window_counts_as_predecessor(tmp_path: Path) -> None:
    ends = {"client": "web", "server": "cart"}
    window = Window((START_S + 60) * SECOND_NS, (START_S + 120) * SECOND_NS)
    lines = [labelled(f"{GRAPH}_total", v, at, **ends) for at, v in ((45, 100), (60, 130), (75, 150))]
    assert rows(told(tmp_path, *lines, window=window), "count") == [("web", "cart", 50)]


def test_series_split_by_a_label_are_one_edge(tmp_path: Path) -> None:
    lines = [
        labelled(f"{GRAPH}_total", value, at, client="web", server="cart", failed=failed)
        for failed, growth in (("true", 2), ("false", 8))
        for at, value in ((0, 0), (15, growth))
    ]
    assert rows(told(tmp_path, *lines), "count") == [("web", "cart", 10)]


def test_connection_type_names_the_kind_of_node(tmp_path: Path) -> None:
    edges = [
        {"client": "user", "server": "web", "connection_type": "virtual_node", "virtual_node": "client"},
        {"client": "web", "server": "stripe", "connection_type": "virtual_node", "virtual_node": "server"},
        {"client": "web", "server": "db", "connection_type": "database"},
        {"client": "web", "server": "mail", "connection_type": "messaging_system"},
    ]
    made = told(tmp_path, *(labelled(f"{GRAPH}_total", v, at, **e) for e in edges for at, v in ((0, 0), (15, 3))))
    assert dict(zip(made.nodes["id"], made.nodes["kind"], strict=True)) == {
        "external": "entry", "web": "service", "stripe": "external", "db": "database", "mail": "service",
    }  # fmt: skip


def test_durations_are_as_coarse_as_the_buckets(tmp_path: Path) -> None:
    ends = {"client": "web", "server": "cart"}
    buckets = [
        labelled(f"{GRAPH}_server_seconds_bucket", value * at, at, **ends, le=le)
        for at in (0, 1)
        for le, value in (("0.1", 0), ("0.4", 9), ("1.6", 10), ("+Inf", 10))
    ]
    counts = [labelled(f"{GRAPH}_total", 10 * at, at, **ends) for at in (0, 1)]
    made = told(tmp_path, *counts, *buckets)
    ((_, _, p50, p95, client),) = rows(made, "server_p50_s", "server_p95_s", "client_p50_s")
    assert (p50, p95) == (pytest.approx(0.2, rel=0.03), pytest.approx(0.8, rel=0.03))
    assert client != client


def test_istio_counts_once_though_both_proxies_tell(tmp_path: Path) -> None:
    ends = {"source_workload": "web", "destination_workload": "cart"}
    lines = [
        labelled("istio_requests_total", value, at, reporter=reporter, response_code=code, **ends)
        for reporter in ("source", "destination")
        for code, growth in (("200", 9), ("503", 1), ("404", 5))
        for at, value in ((0, 0), (15, growth))
    ]
    assert rows(told(tmp_path, *lines), "count", "errors") == [("web", "cart", 15, 1)]


def test_istio_caller_alone_is_believed(tmp_path: Path) -> None:
    ends = {"source_workload": "unknown", "destination_workload": "web", "reporter": "source", "response_code": "0"}
    made = told(tmp_path, *(labelled("istio_requests_total", v, at, **ends) for at, v in ((0, 0), (15, 4))))
    assert rows(made, "kind", "errors") == [("external", "web", "entry", 4)]


def test_what_only_a_span_tells_is_unknown(tmp_path: Path) -> None:
    ends = {"client": "web", "server": "cart"}
    made = told(tmp_path, *(labelled(f"{GRAPH}_total", v, at, **ends) for at, v in ((0, 0), (15, 4))))
    unknown = ["client_errors", "server_errors", "client_p50_s", "server_p50_s", "gap_p50_s"]
    assert made.edges[unknown].isna().all(axis=None)
    assert made.coverage.spans == 0


def test_edges_of_spans_win_and_each_says_what_it_is_known_from() -> None:
    window = Window(0, 10 * SECOND_NS)
    spans = DependencyGraph.of(
        rollups(edge("a", "b", 5, client_duration=histogram({0.1: 5})), edge("a", "c", 7)), window
    )
    only_told = {"client_count": 0, "server_count": 0}
    made = spans.with_metrics(rollups(edge("a", "b", 6, **only_told), edge("b", "d", 3, **only_told)))
    assert rows(made, "count", "known_from") == [
        ("a", "c", 7, "traces"), ("a", "b", 5, "traces and metrics"), ("b", "d", 3, "metrics"),
    ]  # fmt: skip
    assert made.coverage.spans == spans.coverage.spans


SPANS = "traces_span_metrics_calls"


def test_span_metrics_of_clients_that_name_their_peer_are_edges(tmp_path: Path) -> None:
    def calls(grown: int, **labels: str) -> list[str]:
        labels = {"span_kind": "SPAN_KIND_CLIENT", "status_code": "STATUS_CODE_UNSET"} | labels
        return [labelled(f"{SPANS}_total", value, at, **labels) for at, value in ((0, 1), (15, 1 + grown))]

    made = told(
        tmp_path,
        *calls(6, service_name="web", peer_service="cart"),
        *calls(2, service_name="web", peer_service="cart", status_code="STATUS_CODE_ERROR"),
        *calls(5, service_name="cart", db_system="redis", server_address="db-1"),
        *calls(4, service_name="cart", span_kind="SPAN_KIND_SERVER", server_address="cart"),
        *calls(3, service_name="cart", span_name="no peer"),
    )
    assert rows(made, "kind", "count", "errors") == [("web", "cart", "service", 8, 2), ("cart", "db-1", "cache", 5, 0)]


def test_service_graphs_win_over_span_metrics_of_the_same_edge(tmp_path: Path) -> None:
    span = {"service_name": "web", "span_kind": "SPAN_KIND_CLIENT", "peer_service": "cart"}
    made = told(
        tmp_path,
        *(labelled(f"{GRAPH}_total", v, at, client="web", server="cart") for at, v in ((0, 0), (15, 4))),
        *(labelled(f"{SPANS}_total", v, at, **span) for at, v in ((0, 0), (15, 9))),
    )
    assert rows(made, "count") == [("web", "cart", 4)]


def test_creation_times_tell_first_growth_and_resets(tmp_path: Path) -> None:
    ends = {"client": "web", "server": "cart"}
    samples = ((0, 7, -60), (15, 10, -60), (30, 12, 20))
    made = told(
        tmp_path,
        *(labelled(f"{GRAPH}_total", value, at, **ends) for at, value, _ in samples),
        *(labelled(f"{GRAPH}_created", START_S + since, at, **ends) for at, _, since in samples),
    )
    # 7 since the creation, then 3, and 12 since it was created anew.
    assert rows(made, "count") == [("web", "cart", 22)]


def test_native_histograms_give_durations(tmp_path: Path) -> None:
    def native(count: int, at_s: int) -> str:
        buckets = f"schema:3,positive_spans:[-27:1],positive_deltas:[{count}]"
        ends = 'client="web",server="cart"'
        return f"{GRAPH}_server_seconds{{{ends}}} {{count:{count},sum:1,{buckets}}} {START_S + at_s}"

    ends = {"client": "web", "server": "cart"}
    made = told(
        tmp_path,
        *(labelled(f"{GRAPH}_total", v, at, **ends) for at, v in ((0, 0), (15, 4))),
        native(0, 0),
        native(4, 15),
    )
    assert made.edges["server_p50_s"].tolist() == pytest.approx([2 ** (-27.5 / 8)], rel=0.03)


def test_store_of_metrics_alone_has_a_graph(tmp_path: Path) -> None:
    ends = {"client": "web", "server": "cart"}
    told(tmp_path, *(labelled(f"{GRAPH}_total", v, at, **ends) for at, v in ((0, 0), (15, 4))))
    made = DependencyGraph.read(Store(tmp_path / "store"))
    assert rows(made, "count", "known_from") == [("web", "cart", 4, "metrics")]


def test_span_metrics_add_to_a_service_graph_what_it_does_not_tell(tmp_path: Path) -> None:
    def grown(name: str, value: int, **labels: str) -> list[str]:
        return [labelled(f"{name}_total", n, at, **labels) for at, n in ((0, 0), (15, value))]

    span = {"service_name": "web", "span_kind": "SPAN_KIND_CLIENT"}
    made = told(
        tmp_path,
        *grown(GRAPH, 9, client="web", server="cart"),
        *grown(GRAPH, 6, client="web", server="shop", connection_type="database"),
        *grown(SPANS, 9, **span, server_address="cart.shop.svc:8080"),
        *grown(SPANS, 6, **span, server_address="db-1", db_system="mysql"),
        *grown(SPANS, 4, **span, server_address="stripe.com"),
    )
    assert rows(made, "kind", "count") == [
        ("web", "cart", "service", 9), ("web", "shop", "database", 6), ("web", "stripe.com", "external", 4),
    ]  # fmt: skip


def test_virtual_node_is_the_callee_of_a_caller_that_is_known_also_without_its_label(tmp_path: Path) -> None:
    ends = ({"client": "user", "server": "web"}, {"client": "web", "server": "stripe"})
    lines = [
        labelled(f"{GRAPH}_total", value, at, connection_type="virtual_node", **labels)
        for labels in ends
        for at, value in ((0, 0), (15, 3))
    ]
    assert rows(told(tmp_path, *lines), "kind") == [("external", "web", "entry"), ("web", "stripe", "external")]


def test_metrics_that_say_where_services_run_tell_deployments_of_one_name_apart(tmp_path: Path) -> None:
    graph = [
        {"client": "web", "server": "cart", "server_service_namespace": space, "server_k8s_cluster_name": "eu"}
        for space in ("shop", "bank")
    ]
    spans = [
        {"service_name": "web", "deployment_environment_name": place, "span_kind": "SPAN_KIND_CLIENT", "db_name": "db"}
        for place in ("prod", "staging")
    ]
    named = [*((f"{GRAPH}_total", labels) for labels in graph), *((f"{SPANS}_total", labels) for labels in spans)]
    made = told(tmp_path, *(labelled(n, v, at, **labels) for n, labels in named for at, v in ((0, 0), (15, 3))))
    assert rows(made, "count") == [
        ("web", "bank/cart", 3), ("web", "shop/cart", 3), ("web@prod", "db", 3), ("web@staging", "db", 3),
    ]  # fmt: skip


def test_istio_workloads_of_one_name_in_several_namespaces_are_told_apart(tmp_path: Path) -> None:
    places = ("shop", "bank")
    lines = [
        labelled("istio_requests_total", value, at, source_workload="web", destination_workload="cart",
                 destination_workload_namespace=place, reporter="destination", response_code="200")
        for place in places for at, value in ((0, 0), (15, 4))
    ]  # fmt: skip
    assert rows(told(tmp_path, *lines), "count") == [("web", "bank/cart", 4), ("web", "shop/cart", 4)]
