"""Rates and shares of errors come from metrics where spans are a sample that does not say so."""

import pytest
from rollup_tables import edge, histogram, rollups

from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.tracer.window import SECOND_NS, Window

TEN_S = Window(0, 10 * SECOND_NS)
ONLY_TOLD = {"client_count": 0, "server_count": 0}
SOURCES = ["rate_from", "errors_from", "durations_from"]


def both(spans: dict, metrics: dict) -> DependencyGraph:
    return DependencyGraph.of(rollups(edge("web", "cart", **spans)), TEN_S).with_metrics(
        rollups(edge("web", "cart", **metrics, **ONLY_TOLD))
    )


def test_metrics_win_where_spans_are_an_unmarked_sample_and_each_number_names_its_source() -> None:
    graph = both({"count": 20, "errors": 18, "server_duration": histogram({0.1: 20})}, {"count": 1000, "errors": 30})
    (found,) = graph.edges.to_dict("records")
    assert [found[name] for name in ("count", "errors", "adjusted_count", "rate_per_s", "error_ratio")] == [
        *(20, 18, 1000, 100, 0.03),
    ]
    assert found["server_p50_s"] == pytest.approx(0.1, rel=0.03)
    assert [found[name] for name in SOURCES] == ["metrics", "metrics", "traces"]
    cart = graph.nodes.set_index("id").loc["cart"]
    assert (cart["rate_per_s"], cart["error_ratio"], cart["errors"]) == (100, 0.03, 18)


@pytest.mark.parametrize(
    ("spans", "metrics"),
    [
        ({"count": 90, "errors": 9}, {"count": 100, "errors": 1}),
        # A threshold says how many calls the spans stand for.
        ({"count": 20, "errors": 2, "adjusted_milli": 200_000}, {"count": 1000, "errors": 30}),
    ],
    ids=["nearly-all", "sampled-with-a-threshold"],
)
def test_spans_win_where_they_tell_of_all_calls(spans: dict, metrics: dict) -> None:
    graph = both(spans, metrics)
    (found,) = graph.edges.to_dict("records")
    assert (found["error_ratio"], found["known_from"]) == (0.1, "traces and metrics")
    assert [found[name] for name in SOURCES] == ["traces"] * 3


def test_an_edge_that_only_metrics_know_takes_all_from_them() -> None:
    graph = DependencyGraph.of(rollups(), TEN_S).with_metrics(rollups(edge("a", "b", 5, errors=1, **ONLY_TOLD)))
    (found,) = graph.edges.to_dict("records")
    assert [found[name] for name in ("count", "error_ratio", *SOURCES)] == [5, 0.2, *["metrics"] * 3]


def test_merging_is_the_same_in_any_order_and_grouping() -> None:
    later = Window(10 * SECOND_NS, 20 * SECOND_NS)
    one = both({"count": 20}, {"count": 1000})
    two = DependencyGraph.of(rollups(edge("web", "cart", 70, at_s=10)), later)
    told = rollups(edge("web", "cart", 100, at_s=10, **ONLY_TOLD), edge("web", "db", 4, at_s=10, **ONLY_TOLD))
    three = DependencyGraph.of(rollups(), later).with_metrics(told)
    merged = [one.merge(two).merge(three), three.merge(two.merge(one)), two.merge(three).merge(one)]
    assert [graph.to_json() for graph in merged] == [merged[0].to_json()] * 3
    assert dict(zip(merged[0].edges["target"], merged[0].edges["adjusted_count"], strict=True)) == {
        "cart": 1100,
        "db": 4,
    }


def test_a_change_of_the_source_is_no_change_of_errors() -> None:
    sampled = both({"count": 40, "errors": 36}, {"count": 4000, "errors": 40})
    whole = DependencyGraph.of(rollups(edge("web", "cart", 4000, errors=41)), TEN_S)
    assert whole.diff(sampled).changed.empty
