"""Evidence of metrics alone, on recordings small enough to see what should come out, in layouts of other systems."""

from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from hypocenter.analysis.case import Case, Symptom
from hypocenter.analysis.evidence.series import role_of
from hypocenter.analysis.hypocenter import Hypocenter
from hypocenter.analysis.ranking import Ranking
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.layouts import read_case_files

ALERT_S = 1_700_000_000
NORMAL, ABNORMAL = 600, 300
SERVICES = ("web", "cart", "pay")


def columns(seed: int = 1) -> dict[str, np.ndarray]:
    """Return the columns of a quiet RCAEval recording, one value a second."""
    rng = np.random.default_rng(seed)
    n = NORMAL + ABNORMAL
    found = {}
    for i, service in enumerate(SERVICES):
        found[f"{service}_cpu"] = 0.05 * (1 + 0.1 * rng.standard_normal(n))
        found[f"{service}_mem"] = (50 + 40 * i) * 1e6 * (1 + 0.01 * rng.standard_normal(n))
        found[f"{service}_diskio"] = np.zeros(n)
        found[f"{service}_socket"] = np.round(10 + rng.standard_normal(n))
        found[f"{service}_workload"] = 5 + rng.random(n)
        found[f"{service}_error"] = np.zeros(n)
        found[f"{service}_latency-50"] = 0.01 * (3 - i) * (1 + 0.1 * rng.standard_normal(n))
        found[f"{service}_latency-90"] = 2 * found[f"{service}_latency-50"]
    return found


def ranked(folder: Path, values: dict[str, np.ndarray], step: int = 1, *, graph: bool = False) -> Ranking:
    frame = pd.DataFrame({"time": np.arange(ALERT_S - NORMAL, ALERT_S + ABNORMAL)} | values).iloc[::step]
    frame.to_csv(folder / "metrics.csv", index=False)
    calls = nx.DiGraph([("web", "cart"), ("web", "pay")]) if graph else None
    symptom = Symptom("web", "latency") if graph else Symptom()
    batch = read_case_files({"metrics": [folder / "metrics.csv"]})
    return Hypocenter().rank(Case(batch, ALERT_S * 10**9, symptom=symptom, topology=calls))


@pytest.mark.parametrize("step", [1, 5, 60])
@pytest.mark.parametrize(("metric", "value"), [("cpu", 0.9), ("mem", 400e6), ("diskio", 5e7), ("socket", 200.0)])
def test_resource_that_is_used_up_is_found_at_any_step(tmp_path: Path, metric: str, value: float, step: int) -> None:
    values = columns()
    values[f"cart_{metric}"][NORMAL:] = value
    ranking = ranked(tmp_path, values, step)
    assert (ranking.outcome, ranking.candidates[0].service) == ("ranked", "cart")
    assert ranking.candidates[0].evidence_for[0].kind == "saturation"


def test_one_more_than_none_of_what_is_counted_is_no_origin(tmp_path: Path) -> None:
    values = columns()
    for service in SERVICES:
        values[f"{service}_queue"] = np.zeros(NORMAL + ABNORMAL)
    values["cart_queue"][NORMAL:] = 1.0
    assert ranked(tmp_path, values).outcome == "no-origin"
    values["cart_queue"][NORMAL:] = 40.0
    ranking = ranked(tmp_path, values)
    assert (ranking.outcome, ranking.candidates[0].service) == ("ranked", "cart")


def test_growth_that_requests_explain_is_no_saturation(tmp_path: Path) -> None:
    values = columns()
    for metric in ("cpu", "workload"):
        values[f"cart_{metric}"][NORMAL:] *= 4
    assert ranked(tmp_path, values).outcome == "no-origin"


def test_slow_callee_is_found_along_the_graph_and_its_caller_is_explained(tmp_path: Path) -> None:
    values = columns()
    for quantile in ("50", "90"):
        values[f"cart_latency-{quantile}"][NORMAL:] += 0.5
        values[f"web_latency-{quantile}"][NORMAL:] += 0.5
    ranking = ranked(tmp_path, values, graph=True)
    assert (ranking.outcome, ranking.candidates[0].service) == ("ranked", "cart")
    assert ranking.candidates[0].path == ("cart", "web")
    assert ranking.candidates[0].evidence_for[0].kind == "excess"


def test_failures_that_a_quiet_recording_shows_now_and_then_are_no_excess(tmp_path: Path) -> None:
    def recording(name: str, end_s: int, errors: np.ndarray) -> Batch:
        n = len(errors)
        values: dict[str, np.ndarray] = {"time": np.arange(end_s - 60 * n, end_s, 60)}
        for service in SERVICES:
            values[f"{service}_workload"] = np.full(n, 100.0)
            values[f"{service}_error"] = errors if service == "cart" else np.zeros(n)
        pd.DataFrame(values).to_csv(tmp_path / name, index=False)
        return read_case_files({"metrics": [tmp_path / name]})

    quiet = np.where(np.arange(600) % 16 == 0, 4.0, 0.0)
    calls = nx.DiGraph([("web", "cart"), ("web", "pay")])

    def outcome(now: list[float]) -> tuple[str, str]:
        incident = recording("incident.csv", ALERT_S + 300, np.array([0.0] * 10 + now))
        baseline = recording("quiet.csv", ALERT_S - 86_400, quiet)
        ranking = Hypocenter().rank(Case(incident, ALERT_S * 10**9, baseline, topology=calls))
        return ranking.outcome, ranking.candidates[0].service

    assert outcome([4.0, 0.0, 4.0, 0.0, 0.0])[0] == "no-origin"
    assert outcome([40.0, 40.0, 40.0, 40.0, 40.0]) == ("ranked", "cart")


def test_errors_from_nothing_are_found_without_a_graph(tmp_path: Path) -> None:
    values = columns()
    values["pay_error"][NORMAL:] = 2.0
    ranking = ranked(tmp_path, values)
    assert (ranking.outcome, ranking.candidates[0].service) == ("ranked", "pay")


@pytest.mark.parametrize("seed", range(5))
def test_quiet_metrics_have_no_clear_origin_and_say_what_was_not_checked(tmp_path: Path, seed: int) -> None:
    ranking = ranked(tmp_path, columns(seed))
    assert ranking.outcome == "no-origin"
    assert "latency: no spans around the alert" in ranking.not_checked
    assert "saturation" in ranking.checked


def test_alert_two_minutes_wrong_in_either_direction_finds_the_same(tmp_path: Path) -> None:
    values = columns()
    values["cart_cpu"][NORMAL:] = 0.9
    ranked(tmp_path, values)
    batch = read_case_files({"metrics": [tmp_path / "metrics.csv"]})
    for offset in (-120, 120):
        ranking = Hypocenter().rank(Case(batch, (ALERT_S + offset) * 10**9))
        assert ranking.candidates[0].service == "cart"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("container-memory-failures-total", "memory"),
        ("CpuUsageRate(%)", "cpu"),
        ("PodServerLatencyP99(s)", "latency"),
        ("latency-90", "latency"),
        ("diskio", "disk"),
        ("container-fs-writes-bytes-total", "disk"),
        ("sockets", "socket"),
        ("istio-requests-total", "rate"),
        ("PodWorkload(Ops)", "rate"),
        ("availability/Average", "success"),
        ("http_5xx", "error"),
        ("temperature", "other"),
    ],
)
def test_role_of_a_series_is_told_by_its_name(name: str, role: str) -> None:
    assert role_of(name) == role
