"""The table of kinds and places: what users felt, where each method put the origin, by half."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from hypocenter.analysis.evaluation.cases import LabelledCase
from hypocenter.analysis.evaluation.runner import Prediction
from hypocenter.analysis.ranking import Candidate, Ranking
from sample_data.lab.table import felt, to_markdown


def effect(operation: str, before_ms: float, during_ms: float, failing: float) -> dict[str, Any]:
    return {
        "operation": operation,
        "before_ms": before_ms,
        "during_ms": during_ms,
        "error_ratio_before": 0.0,
        "error_ratio_during": failing,
    }


def label(case: str, kind: str, split: str, *effects: dict[str, Any]) -> dict[str, Any]:
    return {"case": case, "fault_type": kind, "split": split, "effect_visible": bool(effects), "effect": effects}


def said(
    case: str, answers: set[str], ranker: str, outcome: Literal["ranked", "no-origin"], **scores: float
) -> Prediction:
    candidates = tuple(Candidate(name, "service", name, None, score=score) for name, score in scores.items())
    labelled = LabelledCase(case, "lab", "", frozenset(answers), {}, Path())
    return Prediction(labelled, Ranking(ranker, outcome, candidates), 0.0, 0)


def test_table_has_the_shares_of_each_half_and_the_places_of_each_kind() -> None:
    slow, failing = effect("GET /", 100, 240, 0.0), effect("POST /cart", 50, 40, 0.5)
    labels = [
        label("crash-1", "crash", "train", slow, failing),
        label("crash-3", "crash", "train"),
        label("crash-2", "crash", "test", slow),
        label("quiet-2", "none", "test"),
    ]
    predictions = [
        said("crash-1", {"cart"}, "good", "ranked", cart=3, web=2),
        said("crash-1", {"cart"}, "poor", "ranked", web=3, shop=2, cart=2),
        said("crash-3", {"cart", "shop"}, "good", "ranked", web=3, shop=2, cart=1),
        said("crash-3", {"cart", "shop"}, "poor", "ranked", web=3),
        said("crash-2", {"web"}, "good", "ranked", web=3),
        said("crash-2", {"web"}, "poor", "no-origin", web=3),
        said("quiet-2", set(), "good", "no-origin", web=1),
        said("quiet-2", set(), "poor", "ranked", web=1),
    ]
    assert to_markdown(labels, predictions).splitlines() == [
        "| half | ranker | faults | AC@1 | AC@3 | AC@5 | Avg@5 | MRR | quiet | specificity |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| train | good | 2 | 0.50 [0.09, 0.91] | 1.00 | 1.00 | 0.85 | 0.75 | 0 | - |",
        "| train | poor | 2 | 0.00 [0.00, 0.66] | 0.50 | 0.50 | 0.35 | 0.21 | 0 | - |",
        "| test | good | 1 | 1.00 [0.21, 1.00] | 1.00 | 1.00 | 1.00 | 1.00 | 1 | 1.00 |",
        "| test | poor | 1 | 0.00 [0.00, 0.79] | 0.00 | 0.00 | 0.00 | 0.00 | 1 | 0.00 |",
        "",
        "| kind | half | felt at the entry | good | poor |",
        "| --- | --- | --- | --- | --- |",
        "| crash | train | 1 of 2: POST /cart fails 50% | 1 2 | 2.5 - |",
        "| crash | test | 1 of 1: GET / 100 to 240 ms | 1 | - |",
        "| none | test | 0 of 1 | none | named |",
    ]


def test_what_was_felt_is_the_operation_that_failed_most_or_else_slowed_most() -> None:
    slower, slow = effect("GET /a", 10, 50, 0.05), effect("GET /b", 100, 200, 0.0)
    assert felt(label("x", "hang", "test", slow, slower)) == "GET /a 10 to 50 ms"
    assert felt(label("x", "hang", "test", slow, slower, effect("GET /c", 10, 10, 0.2))) == "GET /c fails 20%"
    assert felt(label("x", "hang", "test")) is None
