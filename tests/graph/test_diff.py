"""What counts as a change between two windows, and what is noise."""

import numpy as np
import pytest
from rollup_tables import edge, graph, histogram

from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.diff import LEAST_EFFECT


def steady(seed: int, *, errors: float = 0.01, rate: float = 50, centre_s: float = 0.02) -> DependencyGraph:
    """Return ten minutes of one edge with Poisson traffic, failures and lognormal durations."""
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(60):
        count = int(rng.poisson(rate)) + 1
        durations: dict[float, int] = {}
        for value in rng.lognormal(np.log(centre_s), 0.6, count):
            durations[float(value)] = durations.get(float(value), 0) + 1
        failed = int(rng.binomial(count, errors))
        rows.append(edge("web", "cart", count, at_s=10 * step, errors=failed, client_duration=histogram(durations)))
    return graph(*rows, end_s=600)


def test_windows_of_the_same_system_show_no_change() -> None:
    changes = [len(steady(seed).diff(steady(seed + 1000)).changed) for seed in range(20)]
    assert changes == [0] * 20


@pytest.mark.parametrize(
    ("changed", "measure"),
    [({"rate": 80}, "rate_per_s"), ({"errors": 0.05}, "error_ratio"), ({"centre_s": 0.03}, "client_p50_s")],
)
def test_one_change_is_found_and_named(changed: dict, measure: str) -> None:
    found = steady(1).diff(steady(2, **changed)).changed
    assert found["measure"].tolist() == [measure]


def test_effect_of_a_duration_is_the_ratio_of_geometric_means() -> None:
    found = steady(1).diff(steady(2, centre_s=0.2)).changed
    assert found["effect"].iloc[0] == pytest.approx(0.2 / 0.021, rel=0.15)


def test_a_certain_but_tiny_change_is_not_significant() -> None:
    before = graph(edge("a", "b", 1_000_000, errors=10_000))
    after = graph(edge("a", "b", 1_000_000, errors=12_000))
    table = before.diff(after).table.set_index("measure")
    assert table.loc["error_ratio", "p_value"] < 1e-9
    assert not table["is_significant"].any()
    assert table.loc["error_ratio", "effect"] < LEAST_EFFECT["error_ratio"]


def test_bursts_are_no_change_of_rate() -> None:
    bursty = [edge("a", "b", 600 if step % 6 == 0 else 1, at_s=10 * step) for step in range(12)]
    milder = [edge("a", "b", 400 if step % 6 == 0 else 1, at_s=10 * step) for step in range(12)]
    assert graph(*bursty, end_s=120).diff(graph(*milder, end_s=120)).changed.empty


def test_edges_on_one_side_appear_or_vanish() -> None:
    found = graph(edge("a", "b", 50), edge("a", "old", 50)).diff(graph(edge("a", "b", 50), edge("a", "new", 50)))
    assert found.appeared[["source", "target", "before", "after", "is_significant"]].to_dict("records") == [
        {"source": "a", "target": "new", "before": 0.0, "after": 5.0, "is_significant": True}
    ]
    assert found.vanished[["target", "before", "after", "is_significant"]].to_dict("records") == [
        {"target": "old", "before": 5.0, "after": 0.0, "is_significant": True}
    ]


def test_an_edge_seen_once_may_vanish_by_chance() -> None:
    found = graph(edge("a", "b", 50), edge("a", "rare", 1)).diff(graph(edge("a", "b", 50)))
    assert found.vanished[["target", "p_value", "is_significant"]].to_dict("records") == [
        {"target": "rare", "p_value": 0.5, "is_significant": False}
    ]


def test_measures_unknown_on_a_side_are_never_significant() -> None:
    known = graph(edge("a", "b", 50, client_duration=histogram({0.01: 50})))
    table = known.diff(graph(edge("a", "b", 50))).table.set_index("measure")
    assert np.isnan(table.loc["client_p50_s", "p_value"])
    assert not table.loc["client_p50_s", "is_significant"]


def test_text_names_each_change() -> None:
    before = graph(edge("a", "b", 500), edge("a", "old", 50))
    after = graph(edge("a", "b", 500, errors=100))
    window = "1970-01-01T00:00:00Z/1970-01-01T00:00:10Z"
    assert str(before.diff(after)).splitlines() == [
        f"from {window} to {window}",
        "vanished: a -> old (5/s)",
        "changed: a -> b: errors 0.00% -> 20.00% (p < 1e-9)",
    ]


def test_empty_windows_do_not_differ() -> None:
    assert str(graph().diff(graph())).endswith("no significant change")


def test_effects_are_a_column_a_measure_the_slowest_first() -> None:
    quick, slow = histogram({0.1: 50}), histogram({0.9: 50})
    before = graph(*(edge("web", callee, 50, client_duration=quick) for callee in ("cart", "db")))
    after = graph(edge("web", "cart", 50, client_duration=quick), edge("web", "db", 50, client_duration=slow))
    effects = before.diff(after).effects
    assert list(effects.index) == [("web", "db"), ("web", "cart")]
    assert list(effects.columns) == ["rate_per_s", "error_ratio", "client_p50_s", "server_p50_s", "gap_p50_s"]
    assert effects.client_p50_s.iloc[0] > 2 and effects.client_p50_s.iloc[1] == 1.0
