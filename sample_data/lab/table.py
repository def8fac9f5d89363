"""Every kind of fault and the place that each ranker gave its origin, by half, as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hypocenter.analysis.evaluation.cases import read_cases
from hypocenter.analysis.evaluation.runner import Prediction, run
from hypocenter.analysis.evaluation.scoring import Score, score

HALVES = ("train", "test")
Label = dict[str, Any]


def predict(
    files: Sequence[Path], rankers: Sequence[str], report: Callable[[str, float], None]
) -> tuple[list[Label], list[Prediction]]:
    """Return the labels of some CASES.jsonl and what each ranker says of each case."""
    labels = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    cases = [case for file in files for case in read_cases(file)]
    return labels, list(run(cases, rankers, progress=lambda index, name: report(name, index / len(cases))))


def to_markdown(labels: Sequence[Label], predictions: Sequence[Prediction]) -> str:
    """Return two tables: a row per half and ranker with its shares, and a row per kind and half with the places.

    A place is that of the first true service among the ranked ones, its mean over ties; ``-``: not named, or no origin
    seen; where no service is at fault, ``none`` for a ranking that says so and ``named`` for one that names an origin.
    """
    return "\n".join([*_shares(labels, predictions), "", *_places(labels, predictions), ""])


def felt(label: Label) -> str | None:
    """Return the strongest effect at the entry in words, None where users felt nothing."""

    def failing(effect: dict[str, Any]) -> float:
        return float(effect["error_ratio_during"] - effect["error_ratio_before"])

    if not label["effect_visible"]:
        return None
    worst = max(label["effect"], key=failing)
    if failing(worst) > _FAILING:
        return f"{worst['operation']} fails {worst['error_ratio_during']:.0%}"
    worst = max(label["effect"], key=lambda effect: float(effect["during_ms"] / effect["before_ms"]))
    return f"{worst['operation']} {worst['before_ms']:.0f} to {worst['during_ms']:.0f} ms"


_FAILING = 0.1


def _shares(labels: Sequence[Label], predictions: Sequence[Prediction]) -> Iterator[str]:
    yield from _head("half", "ranker", "faults", "AC@1", "AC@3", "AC@5", "Avg@5", "MRR", "quiet", "specificity")
    half_of = {label["case"]: label["split"] for label in labels}
    rankers = dict.fromkeys(prediction.ranking.ranker for prediction in predictions)
    for half in HALVES:
        rows = [
            score(half, ranker, [p for p in predictions if p.ranking.ranker == ranker and half_of[p.case.name] == half])
            for ranker in rankers
        ]
        for row in sorted(rows, key=lambda row: (-row.ac[1], -row.avg5, row.ranker)):
            yield _line(half, row.ranker, row.n, *_numbers(row))


def _numbers(row: Score) -> Iterator[str]:
    low, high = row.ac_interval[1]
    yield f"{_share(row.ac[1])} [{_share(low)}, {_share(high)}]"
    yield from map(_share, (row.ac[3], row.ac[5], row.avg5, row.mrr))
    yield str(row.no_fault)
    yield _share(row.specificity)


def _places(labels: Sequence[Label], predictions: Sequence[Prediction]) -> Iterator[str]:
    rankers = list(dict.fromkeys(prediction.ranking.ranker for prediction in predictions))
    said = {(p.case.name, p.ranking.ranker): p for p in predictions}
    yield from _head("kind", "half", "felt at the entry", *rankers)
    for kind, half in sorted({(label["fault_type"], label["split"]) for label in labels}, key=_order):
        of = [label for label in labels if (label["fault_type"], label["split"]) == (kind, half)]
        effects = [effect for label in of if (effect := felt(label))]
        told = f"{len(effects)} of {len(of)}" + (f": {effects[0]}" if effects else "")
        places = [" ".join(place(said[label["case"], ranker]) for label in of) for ranker in rankers]
        yield _line(kind, half, told, *places)


def _order(row: tuple[str, str]) -> tuple[bool, str, int]:
    kind, half = row
    return kind == "none", kind, HALVES.index(half)


def place(prediction: Prediction) -> str:
    """Return the place of the first true service, its mean over ties; see `to_markdown`."""
    ranking, answers = prediction.ranking, prediction.case.answers or frozenset()
    is_named = ranking.outcome == "ranked"
    if not answers:
        return "named" if is_named else "none"
    services = ranking.services() if is_named else []
    scores = [score for name, score in services if name in answers]
    if not scores:
        return "-"
    above = sum(score > max(scores) for _, score in services)
    tied = sum(score == max(scores) for _, score in services)
    return f"{above + (tied + 1) / 2:g}"


def _head(*names: str) -> Iterator[str]:
    yield _line(*names)
    yield _line(*("---" for _ in names))


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _share(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
