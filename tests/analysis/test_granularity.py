"""Levels of an origin: what a label tells, what a candidate names, and the sweep over worse conditions."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hypocenter.analysis.evaluation.cases import LabelledCase
from hypocenter.analysis.evaluation.granularity import score_granularity
from hypocenter.analysis.evaluation.origins import Origin, read_origins
from hypocenter.analysis.evaluation.runner import Prediction
from hypocenter.analysis.evaluation.sweep import Condition, conditions, sweep
from hypocenter.analysis.ranking import Candidate, Ranking
from hypocenter.cli.main import app

ALERT_S = 1_700_000_000


@pytest.mark.parametrize(
    ("record", "origins"),
    [
        (
            {"root_cause_service": "cart", "root_cause_pod": "cart-1", "root_cause_indicator": "CpuUsageRate(%)"},
            (Origin("cart", pod="cart-1", indicator="cpu"),),
        ),
        (
            {"root_cause_service": "cart", "root_cause_indicator": "Charge card started_Charge card done"},
            (Origin("cart", indicator="code"),),
        ),
        (
            {"origin": [{"granularity": "edge", "service": "pay", "pod": None, "edge": "cart->pay"}]},
            (Origin("pay", "edge", edge=("cart", "pay")),),
        ),
        ({"origin": [{"granularity": "pod", "service": None, "pod": "pay-1"}]}, ()),
        ({"root_cause_service": None}, ()),
        ({}, ()),
    ],
)
def test_label_is_read_as_finely_as_it_tells(record: dict[str, Any], origins: tuple[Origin, ...]) -> None:
    assert read_origins(record) == origins


def predicted(origin: Origin, *candidates: Candidate, outcome: Any = "ranked") -> Prediction:
    case = LabelledCase("c", "shop", "cpu", frozenset({origin.service}), {}, Path(), origins=(origin,))
    return Prediction(case, Ranking("x", outcome, candidates), 0.1, 1)


def levels(*predictions: Prediction) -> dict[str, tuple[int, float, float]]:
    return {row.level: (row.n, row.ac[1], row.ac[3]) for row in score_granularity(predictions)}


def candidate(service: str, score: float, entity: str | None = None, kind: str = "service", **more: Any) -> Candidate:
    return Candidate(entity or service, kind, service, None, None, score, **more)


def test_levels_are_scored_where_the_label_tells_them_and_left_out_elsewhere() -> None:
    first = predicted(
        Origin("cart", "pod", pod="cart-1", indicator="cpu"),
        candidate("web", 2.0, pod="web-1"),
        candidate("cart", 1.0, pod="cart-1", indicator="memory"),
    )
    second = predicted(Origin("pay", "edge", edge=("cart", "pay")), candidate("pay", 1.0, "cart -> pay", "edge"))
    third = predicted(Origin("ads", "change", pod="ads-2"), candidate("ads", 1.0, "ads 2.0", "change", pod="ads-1"))
    assert levels(first, second, third) == {
        "service": (3, 2 / 3, 1.0),
        "pod": (2, 0.0, 0.5),
        "edge": (1, 1.0, 1.0),
        "change": (1, 1.0, 1.0),
        "indicator": (1, 0.0, 0.0),
    }


def test_no_origin_is_wrong_and_ties_take_the_expected_value() -> None:
    tied = [candidate(s, 1.0, pod=f"{s}-1") for s in ("web", "cart")]
    origin = Origin("cart", pod="cart-1")
    assert levels(predicted(origin, *tied)) == {"service": (1, 0.5, 1.0), "pod": (1, 0.5, 1.0)}
    assert levels(predicted(origin, *tied, outcome="no-origin")) == {"service": (1, 0.0, 0.0), "pod": (1, 0.0, 0.0)}


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Two cases on a wide CSV in which ``cart`` jumps at the alert."""
    lines = ["time,web_latency,cart_latency,pay_latency"]
    for second in range(-900, 600, 5):
        wave = second % 7
        lines.append(f"{ALERT_S + second},{10 + wave},{10 + second % 3 + (500 if second >= 0 else 0)},{12 + wave}")
    (tmp_path / "data.csv").write_text("\n".join(lines), encoding="utf-8")
    line = {"inject_time_epoch_s": ALERT_S, "paths": {"metrics": ["data.csv"]}, "system": "shop"}
    file = tmp_path / "CASES.jsonl"
    rows = [line | {"case": name, "root_cause_service": "cart"} for name in ("a", "b")]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def test_sweep_runs_every_case_under_every_condition(cases: Path) -> None:
    from hypocenter.analysis.evaluation.cases import read_cases

    asked = [Condition("late", 120), next(c for c in conditions() if c.name == "without metrics")]
    found = [
        (condition.name, p.case.name, p.ranking.outcome) for condition, p in sweep(read_cases(cases), ["max-z"], asked)
    ]
    assert found == [
        (name, case, outcome)
        for case in ("a", "b")
        for name, outcome in (("late", "ranked"), ("without metrics", "not-applicable"))
    ]


def test_sweep_covers_alert_errors_lost_spans_modalities_and_the_origins_own_telemetry() -> None:
    assert [c.name for c in conditions()] == [
        *(f"alert {s:+d} s" for s in (-300, -180, -120, -60, 60, 120, 180, 300)),
        *(f"{share} % of the spans lost" for share in (10, 30, 50)),
        *(f"without {modality}" for modality in ("traces", "metrics", "logs")),
        "the origin is not instrumented",
    ]


def test_command_prints_the_sweep_and_writes_the_page(cases: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = ["evaluate", str(cases), "--ranker", "max-z", "--sweep", "--report", str(page)]
    told = CliRunner().invoke(app, [*command, "-o", "json"])
    assert told.exit_code == 0
    swept = {row["group"]: (row["n"], row["ac"]["1"]) for row in json.loads(told.stdout)["sweep"]}
    assert swept == {"as recorded": (2, 1.0)} | {
        c.name: (2, 0.0 if c.name == "without metrics" else 1.0) for c in conditions()
    }
    assert "Under worse conditions" in page.read_text(encoding="utf-8")
    table = CliRunner().invoke(app, command).stdout
    assert "without metrics" in table
    for option in ("--report", "--predictions"):
        refused = CliRunner().invoke(app, ["evaluate", str(cases), option, str(tmp_path / "no" / "page.html")])
    assert refused.exit_code == 2
