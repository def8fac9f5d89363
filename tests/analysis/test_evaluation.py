"""The evaluation contract: what a ranker sees, what counts as wrong, and what the predictions say."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from typer.testing import CliRunner

from hypocenter.analysis import ranker as registry
from hypocenter.analysis.evaluation import derive
from hypocenter.analysis.evaluation.cases import read_cases
from hypocenter.analysis.evaluation.runner import run
from hypocenter.analysis.evaluation.scoring import hits_at, reciprocal_rank, score_all, wilson
from hypocenter.analysis.ranking import Candidate, Ranking
from hypocenter.cli.main import app
from hypocenter.errors import CaseError

ALERT_S = 1_700_000_000
RANKERS = ["hypocenter", "random", "max-z", "n-sigma", "robust"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A wide CSV of three services in which ``cart`` jumps at the alert."""
    rng = np.random.default_rng(7)
    lines = ["time,web_latency,cart_latency,pay_latency"]
    for second in range(-600, 300, 5):
        web, cart, pay = 10 + rng.random(3)
        cart += 500 if second >= 0 else 0
        lines.append(f"{ALERT_S + second},{web:.3f},{cart:.3f},{pay:.3f}")
    (tmp_path / "data.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def case_line(**more: Any) -> dict[str, Any]:
    return {"inject_time_epoch_s": ALERT_S, "paths": {"metrics": ["data.csv"]}, "system": "shop"} | more


def write(folder: Path, *lines: dict[str, Any]) -> Path:
    file = folder / "CASES.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return file


def predicted(file: Path, rankers: list[str]) -> list[dict[str, Any]]:
    found = [p.to_dict() for p in run(read_cases(file), rankers)]
    for line in found:
        for volatile in ("case", "seconds", "peak_rss_bytes"):
            line.pop(volatile)
    return found


def test_every_metric_method_names_the_service_that_jumped(recording: Path) -> None:
    file = write(recording, case_line(case="c", root_cause_service="cart"))
    rows = {s.ranker: (s.ac[1], s.failed, s.not_applicable) for s in score_all(list(run(read_cases(file), RANKERS)))}
    right = (1.0, 0, 0)
    assert rows == {"hypocenter": right, "random": (1 / 3, 0, 0), "max-z": right, "n-sigma": right, "robust": right}


def test_ranker_sees_nothing_of_the_label(recording: Path) -> None:
    label = {
        "fault_type": "cpu",
        "root_cause_service": "cart",
        "root_cause_pod": "cart-1",
        "reproduce": "x",
        "desc": "y",
    }
    told = predicted(write(recording, case_line(case="cart-cpu", **label)), RANKERS)
    renamed = dict.fromkeys(label, "web")
    assert predicted(write(recording, case_line(case="web-mem", **renamed)), RANKERS) == told
    assert predicted(write(recording, case_line()), RANKERS) == told


def test_blind_case_is_predicted_but_not_scored(recording: Path) -> None:
    found = list(run(read_cases(write(recording, case_line())), ["max-z"]))
    assert (found[0].ranking.outcome, score_all(found)) == ("ranked", [])


def test_crash_is_recorded_as_failed_and_counts_as_wrong(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def rank(self, case: object) -> Ranking:
            raise ZeroDivisionError("no scale")

    registry.names()
    monkeypatch.setitem(registry._REGISTRY, "broken", Broken)
    found = list(run(read_cases(write(recording, case_line(root_cause_service="cart"))), ["broken"]))
    assert (found[0].ranking.outcome, found[0].ranking.error) == ("failed", "ZeroDivisionError: no scale")
    row = score_all(found)[-1]
    assert (row.n, row.failed, row.ac[1]) == (1, 1, 0.0)


def test_method_without_its_inputs_stays_in_the_denominator(recording: Path) -> None:
    found = list(run(read_cases(write(recording, case_line(root_cause_service="cart"))), ["traversal"]))
    row = score_all(found)[-1]
    assert (row.n, row.not_applicable, row.ac[1]) == (1, 1, 0.0)


def test_missing_file_fails_every_ranker_and_names_the_path(recording: Path) -> None:
    line = case_line(paths={"metrics": ["gone.csv"]}, root_cause_service="cart")
    (found,) = run(read_cases(write(recording, line)), ["max-z"])
    assert found.ranking.outcome == "failed"
    assert "gone.csv: no such file" in str(found.ranking.error)


def test_no_origin_on_a_quiet_window_is_right_and_on_a_fault_is_wrong(recording: Path) -> None:
    quiet = case_line(root_cause_service=None, inject_time_epoch_s=ALERT_S - 200)
    cases = read_cases(write(recording, quiet, case_line(root_cause_service="cart")))
    empty = Ranking("x", "no-origin", (Candidate("cart", "service", "cart", 0.1),))
    found = [type(p)(p.case, empty, p.seconds, p.peak_rss_bytes) for p in run(cases, ["random"])]
    row = score_all(found)[-1]
    assert (row.specificity, row.no_fault, row.ac[1], row.forced_ac[1]) == (1.0, 1, 0.0, 1.0)


def test_ties_take_the_expected_value() -> None:
    tied = Ranking("x", "ranked", tuple(Candidate(s, "service", s, None, None, 1.0) for s in "abcd"))
    assert hits_at(tied, frozenset("b"), 1) == pytest.approx(0.25)
    assert hits_at(tied, frozenset("b"), 3) == pytest.approx(0.75)
    assert reciprocal_rank(tied, frozenset("b")) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_several_origins_are_divided_by_the_places_they_can_take() -> None:
    order = Ranking("x", "ranked", tuple(Candidate(s, "service", s, None, None, -i) for i, s in enumerate("abc")))
    assert [hits_at(order, frozenset("ac"), k) for k in (1, 2, 3)] == [1.0, 0.5, 1.0]


def test_wilson_interval_matches_the_textbook() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_broken_case_line_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "CASES.jsonl"
    file.write_text('{"inject_time_epoch_s": 1, "paths": {}}\n{', encoding="utf-8")
    with pytest.raises(CaseError, match="line 2: not JSON"):
        read_cases(file)


@pytest.mark.parametrize(
    ("label", "answers"),
    [
        ({"root_causes": ["cart", {"service": "pay", "kind": "pod"}]}, {"cart", "pay"}),
        ({"root_causes": []}, set()),
        ({"root_cause_service": None}, set()),
        ({}, None),
    ],
)
def test_label_forms(tmp_path: Path, label: dict[str, Any], answers: set[str] | None) -> None:
    (case,) = read_cases(write(tmp_path, case_line(**label)))
    assert case.answers == answers


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"root_causes": [{"pod": "cart-1"}]}, "root_causes: expected a service name or an object with one"),
        ({"inject_time_epoch_s": "noon"}, "inject_time_epoch_s: expected epoch seconds"),
    ],
)
def test_wrong_field_names_the_line(tmp_path: Path, line: dict[str, Any], reason: str) -> None:
    with pytest.raises(CaseError, match=f"line 1: {reason}"):
        read_cases(write(tmp_path, case_line(**line)))


def test_service_without_a_known_score_stands_below_every_known_one(tmp_path: Path) -> None:
    rows = [f"{ALERT_S + s},{10 + s % 3},{10 + s % 7},,{0}" for s in range(-600, 300, 5)]
    (tmp_path / "data.csv").write_text("\n".join(["time,web_cpu,cart_cpu,pay_cpu,mail_errors", *rows]))
    (found,) = run(read_cases(write(tmp_path, case_line())), ["max-z"])
    last = found.ranking.candidates[-1]
    assert (last.service, last.score) == ("pay", -np.inf)
    assert {c.service for c in found.ranking.candidates if np.isfinite(c.score)} == {"web", "cart", "mail"}


def test_series_that_was_constantly_zero_is_scored(tmp_path: Path) -> None:
    rows = [f"{ALERT_S + s},{10 + s % 3},{5 if s >= 0 else 0}" for s in range(-600, 300, 5)]
    (tmp_path / "data.csv").write_text("\n".join(["time,web_cpu,cart_errors", *rows]))
    found = run(read_cases(write(tmp_path, case_line())), ["max-z", "n-sigma", "robust"])
    first = [p.ranking.candidates[0] for p in found]
    assert [(c.service, c.score) for c in first] == [("cart", 100.0)] * 3


def test_each_ranker_is_charged_for_the_tables_it_derives(recording: Path) -> None:
    seen = []

    class Looks:
        def rank(self, case: Any) -> Ranking:
            seen.append("metrics" in vars(case))
            assert case.metrics is not None
            return Ranking("looks", "no-origin")

    registry.names()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._REGISTRY, "looks", Looks)
        list(run(read_cases(write(recording, case_line())), ["looks", "looks"]))
    assert seen == [False, False]


def test_command_prints_scores_and_writes_predictions(recording: Path) -> None:
    file = write(recording, case_line(case="c", root_cause_service="cart"))
    out = recording / "predictions.jsonl"
    result = CliRunner().invoke(
        app, ["evaluate", str(file), "--ranker", "hypocenter", "--predictions", str(out), "-o", "json"]
    )
    assert result.exit_code == 0
    assert [(s["group"], s["ranker"], s["n"]) for s in json.loads(result.stdout)["scores"]] == [
        (system, ranker, 1) for system in ("shop", "all") for ranker in ("hypocenter", "random", "max-z")
    ]
    first = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
    keys = ["case", "ranker", "outcome", "candidates", "error", "seconds", "peak_rss_bytes"]
    assert (list(first), first["candidates"][0]["service"]) == (keys, "cart")


def test_a_draw_of_lost_spans_is_named_by_its_seed(recording: Path) -> None:
    with mock.patch.object(derive, "drop_spans", wraps=derive.drop_spans) as asked:
        result = CliRunner().invoke(
            app,
            ["evaluate", str(write(recording, case_line())), "--ranker", "max-z", "--drop-spans", "0.3", "--draw", "2"],
        )
    assert (result.exit_code, asked.call_args.args) == (0, (0.3, 2))


def test_unknown_ranker_is_refused(recording: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(write(recording, case_line())), "--ranker", "nope"])
    assert result.exit_code == 2
