"""What counts as a change between two windows, and what is noise."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from rollup_tables import edge, graph, histogram, rollups

from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.diff import LEAST_EFFECT
from hypocenter.graph.rollup import SCHEMAS


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


def sampled(seed: int, one_in: int, *, callees: int = 250, rate_per_s: float = 20, burst: float = 1) -> DependencyGraph:
    """Return five minutes of many alike edges, of whose calls one in so many is seen; steps vary ``burst``-fold."""
    rng = np.random.default_rng(seed)
    # A gamma mixture of Poisson processes has the dispersion that is asked for.
    mean = np.full((callees, 30), rate_per_s * 10)
    calls = rng.poisson(mean if burst == 1 else rng.gamma(mean / (burst - 1), burst - 1))
    seen = rng.binomial(calls, 1 / one_in)
    return graph(
        *(
            edge("web", f"s{callee}", int(seen[callee, step]), at_s=10 * step)
            | {"adjusted_milli": int(seen[callee, step]) * one_in * 1000}
            for callee, step in zip(*seen.nonzero(), strict=True)
        ),
        end_s=300,
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"one_in": 1}, {"one_in": 1}),
        ({"one_in": 100}, {"one_in": 100}),
        ({"one_in": 1}, {"one_in": 100}),
        ({"one_in": 10, "burst": 40}, {"one_in": 100, "burst": 40}),
    ],
)
def test_sampling_raises_no_more_false_alarms_than_stated(before: dict, after: dict) -> None:
    found = [sampled(seed, **before).diff(sampled(seed + 100, **after)) for seed in range(4)]
    p_values = np.concatenate([one.table["p_value"][one.table["measure"] == "rate_per_s"] for one in found])
    assert len(p_values) == 1000
    for level in (0.01, 0.05, 0.2):
        # Three standard errors of the share of a thousand draws.
        assert np.mean(p_values < level) <= level + 3 * np.sqrt(level * (1 - level) / 1000)
    assert [len(one.changed) for one in found] == [0] * 4


def test_a_change_is_found_through_sampling() -> None:
    changed = sampled(1, 100, callees=20, rate_per_s=100).diff(sampled(2, 100, callees=20, rate_per_s=200)).changed
    assert (changed["measure"].unique().tolist(), len(changed)) == (["rate_per_s"], 20)


def test_an_edge_that_a_sampled_window_lacks_may_have_been_missed() -> None:
    before = graph(edge("web", "cart", 10_000), edge("web", "rare", 100), edge("cron", "mail", 100))
    after = graph(edge("web", "cart", 100, adjusted_milli=10_000_000), edge("cron", "audit", 100))
    p_values = before.diff(after).vanished.set_index("target")["p_value"].to_dict()
    # The hundred calls of web that stood for themselves would have been one; cron's are all seen.
    assert p_values == {"rare": pytest.approx((100 / 101) ** 100), "mail": pytest.approx(0.5**100)}


@pytest.mark.parametrize(("name", "kind"), [("cart", "service"), ("cart.shop.svc:8080", "external")])
def test_rates_that_metrics_tell_vary_as_the_metrics_do_under_any_name(name: str, kind: str) -> None:
    def told(high: int) -> DependencyGraph:
        bursts = (
            edge("web", name, high if step % 6 == 0 else 1, at_s=10 * step, callee_kind=kind) for step in range(12)
        )
        counted = [row | {"client_count": 0, "server_count": 0} for row in bursts]
        spans = graph(*(edge("web", "cart", 2, at_s=10 * step) for step in range(12)), end_s=120)
        return spans.with_metrics(rollups(*counted))

    assert told(600).edges[["target", "rate_from"]].to_numpy().tolist() == [["cart", "metrics"]]
    found = told(600).diff(told(400))
    (p_value,) = found.table.query("measure == 'rate_per_s'")["p_value"]
    # Two bursts of 600 or 400 calls in two minutes: were each call by chance, it would be certain.
    assert 0.1 < p_value < 1


def test_a_consumer_that_lags_is_a_change_of_the_time_in_the_queue() -> None:
    def queued(seconds: float) -> DependencyGraph:
        return graph(edge("orders", "mail", 50, caller_kind="messaging", queue=histogram({seconds: 50})))

    found = queued(0.02).diff(queued(3.0))
    assert found.changed[["source", "target", "measure", "before", "after"]].to_dict("records") == [
        {"source": "orders", "target": "mail", "measure": "queue_p50_s", "before": pytest.approx(0.02, rel=0.03),
         "after": pytest.approx(3.0, rel=0.03)}
    ]  # fmt: skip
    assert str(found).splitlines()[1:] == ["changed: orders -> mail: queue p50 20.4 ms -> 2.97 s (x139.00, p < 1e-9)"]
    assert queued(0.02).diff(queued(0.021)).changed.empty
    (unknown,) = graph(edge("a", "b", 9)).diff(graph(edge("a", "b", 9))).table.query("measure == 'queue_p50_s'").p_value
    assert np.isnan(unknown)


def with_versions(*requests: tuple[str, str | None, int], end_s: float = 10) -> DependencyGraph:
    """Return calls from web to cart, and instances of (service, version, requests)."""
    instances = [
        dict.fromkeys(SCHEMAS["instances"].names)
        | {"time_ns": 0, "service": service, "version": version, "count": count, "adjusted_milli": 1000 * count}
        | {"requests": count, "errors": 0, "critical_ns": 0, "duration": [], "exclusive": []}
        for service, version, count in requests
    ]
    made = graph(edge("web", "cart", 50), end_s=end_s)
    tables = replace(made.rollups, instances=pa.Table.from_pylist(instances, SCHEMAS["instances"]))
    return replace(made, rollups=tables)


def test_versions_on_one_side_appeared_or_vanished() -> None:
    before = with_versions(
        ("cart", "1.4", 30), ("cart", "1.3", 2), ("web", "7", 50), ("gone", "1", 5), ("web", None, 1)
    )
    after = with_versions(("cart", "1.5", 20), ("cart", "1.4", 9), ("web", "7", 50), ("new", "1", 5))
    found = before.diff(after)
    assert found.versions.to_dict("records") == [
        {"service": "cart", "version": "1.3", "change": "vanished", "before": 2, "after": 0},
        {"service": "cart", "version": "1.5", "change": "appeared", "before": 0, "after": 20},
    ]
    assert str(found).splitlines()[1:] == ["version vanished: cart 1.3", "version appeared: cart 1.5"]
    assert found.to_json()["versions"] == found.versions.to_dict("records")


def test_without_versions_none_changed() -> None:
    found = graph(edge("a", "b")).diff(graph(edge("a", "b"))).versions
    assert (list(found.columns), len(found)) == (["service", "version", "change", "before", "after"], 0)


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
    assert list(effects.columns) == [
        "rate_per_s",
        "error_ratio",
        "client_p50_s",
        "server_p50_s",
        "gap_p50_s",
        "queue_p50_s",
    ]
    assert effects.client_p50_s.iloc[0] > 2 and effects.client_p50_s.iloc[1] == 1.0
