"""Tail sampling is found where metrics tell of all calls, and never where sampling is fair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from hypocenter.graph.histogram import bucket, buckets
from hypocenter.graph.rollup import EDGES, STEP_NS, Rollups, empty
from hypocenter.graph.sampling_bias import biases

MS = 10**6
# Bounds of a metric's histogram, as the service graph of the Collector has them, in ms.
BOUNDS = np.array([2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10_000], float) * MS
EDGE_NAMES = [("web", "cart"), ("external", "web"), ("cart", "ads")]


def recording(seed: int, *, keep: str = "tenth", bursts: bool = False, steps: int = 60) -> tuple[Rollups, Rollups]:
    """Return rollups of spans, kept as told, and of metrics over the same calls."""
    random = np.random.default_rng(seed)
    traced, told = [], []
    for caller, callee in EDGE_NAMES:
        for step in range(steps):
            n = int(random.poisson(100))
            burst = bursts and step >= steps - 6
            failed = random.random(n) < (0.6 if burst else 0.02)
            took = random.lognormal(np.log(30 * MS), 0.8, n) * (4 if burst else 1)
            chosen = random.random(n) < (0.01 if keep in ("errors", "slow") else 0.1 if keep == "tenth" else 1)
            chosen |= (failed if keep == "errors" else took > 80 * MS) if keep in ("errors", "slow") else False
            traced.append(_row(step, caller, callee, failed[chosen], _bins(took[chosen]), spans=True))
            told.append(_row(step, caller, callee, failed, _bins(_coarse(took)), spans=False))
    return _rollups(traced), _rollups(told)


def _coarse(took: np.ndarray) -> np.ndarray:
    middles = np.sqrt(np.r_[BOUNDS[0] / 4, BOUNDS] * np.r_[BOUNDS, BOUNDS[-1]])
    return middles[np.searchsorted(BOUNDS, took)]


def _bins(took: np.ndarray) -> list[dict[str, int]]:
    found, counts = np.unique(buckets(took.astype(np.int64)), return_counts=True)
    return [{"bucket": int(b), "count": int(c)} for b, c in zip(found, counts, strict=True)]


def _row(step: int, caller: str, callee: str, failed: np.ndarray, bins: list, *, spans: bool) -> dict:
    row = dict.fromkeys(EDGES.names, 0) | {"time_ns": step * STEP_NS, "caller": caller, "callee": callee}
    row |= {"callee_kind": "service", "caller_kind": "service", "count": len(failed), "errors": int(failed.sum())}
    row |= {"adjusted_milli": 1000 * len(failed), "client_duration": [], "gap": [], "queue": []}
    return row | {"server_duration": bins, "server_count": len(failed) if spans else 0}


def _rollups(rows: list[dict]) -> Rollups:
    return replace(empty(), edges=pa.Table.from_pylist([row for row in rows if row["count"]], EDGES))


@pytest.mark.parametrize("bursts", [False, True])
@pytest.mark.parametrize("keep", ["tenth", "all"])
def test_fair_sampling_is_never_reported(keep: str, bursts: bool) -> None:
    reported = [s for s in range(60) if biases(*recording(s, keep=keep, bursts=bursts, steps=40))]
    assert reported == []


@pytest.mark.parametrize("seed", range(5))
def test_traces_kept_for_their_errors_are_reported_with_the_edges(seed: int) -> None:
    (finding,) = biases(*recording(seed, keep="errors"))
    assert finding.title.startswith("spans fail more often than the metrics")
    assert "take rates, error shares and durations from metrics" in finding.remedy
    assert {name for name, _ in finding.subjects} == {f"{a} -> {b}" for a, b in EDGE_NAMES}
    assert min(count for _, count in finding.subjects) > 20


@pytest.mark.parametrize("seed", range(5))
def test_traces_kept_for_being_slow_are_reported(seed: int) -> None:
    (finding,) = biases(*recording(seed, keep="slow"))
    assert finding.title.startswith("spans are slower than the metrics")


def test_traces_that_say_their_threshold_are_not_reported() -> None:
    traced, told = recording(1, keep="errors")
    milli = pa.array([count * 3000 for count in traced.edges["count"].to_pylist()])
    edges = traced.edges.set_column(EDGES.get_field_index("adjusted_milli"), EDGES.field("adjusted_milli"), milli)
    assert biases(replace(traced, edges=edges), told) == []


def test_without_metrics_only_a_lasting_failure_of_every_request_is_a_sign() -> None:
    assert biases(recording(1, keep="errors")[0], empty()) == []
    rows = [
        _row(s, "external", "web", np.ones(5, bool), [{"bucket": bucket(MS), "count": 5}], spans=True)
        for s in range(61)
    ]
    (finding,) = biases(_rollups(rows), empty())
    assert (finding.title.partition(":")[0], finding.subjects) == ("every request failed", (("external -> web", 305),))
    assert biases(_rollups(rows[:30]), empty()) == []


def test_nothing_has_no_bias() -> None:
    assert biases(empty(), empty()) == []
