"""AC@k, Avg@5, MRR and specificity with 95 % intervals; ties take the expected value over random orders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ranking import Ranking
from .runner import Prediction

_RESAMPLES = 1000
_Z95 = 1.959963984540054


def hits_at(ranking: Ranking, answers: frozenset[str], k: int) -> float:
    """Return the expected share of true services among the first ``k``, of min(k, number of true services).

    Candidates collapse to the first of each service; services of equal score are tied.
    """
    services = ranking.services()
    found = 0.0
    for answer in answers:
        score = next((s for name, s in services if name == answer), None)
        if score is None:
            continue
        above = sum(s > score for _, s in services)
        tied = sum(s == score for _, s in services)
        found += min(max((k - above) / tied, 0.0), 1.0)
    return found / min(k, len(answers))


def reciprocal_rank(ranking: Ranking, answers: frozenset[str]) -> float:
    """Return the best expected 1/rank over the true services; 0 when none is among the candidates."""
    services = ranking.services()
    best = 0.0
    for answer in answers:
        score = next((s for name, s in services if name == answer), None)
        if score is not None:
            above, tied = sum(s > score for _, s in services), sum(s == score for _, s in services)
            best = max(best, sum(1 / (above + i) for i in range(1, tied + 1)) / tied)
    return best


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share over ``n``."""
    if n == 0:
        return (math.nan, math.nan)
    centre = (share + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n * n)) / (1 + _Z95**2 / n)
    return (max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean of ``values``."""
    if not len(values):
        return (math.nan, math.nan)
    draws = np.random.default_rng(seed).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return (float(low), float(high))


@dataclass(frozen=True, slots=True)
class Score:
    """One row of the table.

    ``ac``, ``avg5`` and ``mrr`` count failed, not applicable and no-origin as wrong (a fault was there); the ``forced``
    ones score the order that a no-origin keeps.
    """

    group: str  # a system, a fault type, or all
    ranker: str
    n: int
    ac: dict[int, float]
    ac_interval: dict[int, tuple[float, float]]
    avg5: float
    avg5_interval: tuple[float, float]
    mrr: float
    mrr_interval: tuple[float, float]
    forced_ac: dict[int, float]
    forced_avg5: float
    no_fault: int
    specificity: float | None
    specificity_interval: tuple[float, float] | None
    no_origin: int
    not_applicable: int
    failed: int
    median_seconds: float
    max_seconds: float
    peak_rss_bytes: int  # of the largest case, 0 where the system does not tell


def score(group: str, ranker: str, predictions: Sequence[Prediction]) -> Score:
    """Return the row of one ranker over labelled predictions."""
    faults = [p for p in predictions if p.case.answers]
    quiet = [p for p in predictions if p.case.answers is not None and not p.case.answers]
    at = {k: np.array([_credit(p, k) for p in faults]) for k in range(1, 6)}
    average = np.mean([at[k] for k in at], axis=0) if faults else np.empty(0)
    rr = np.array([reciprocal_rank(p.ranking, p.case.answers or frozenset()) * _counts(p) for p in faults])
    forced = {k: np.array([hits_at(p.ranking, p.case.answers or frozenset(), k) for p in faults]) for k in range(1, 6)}
    n = len(faults)

    def mean(values: np.ndarray | list[float]) -> float:
        return float(np.mean(values)) if len(values) else math.nan

    specificity = mean([float(p.ranking.outcome == "no-origin") for p in quiet]) if quiet else None
    return Score(
        group=group,
        ranker=ranker,
        n=n,
        ac={k: mean(at[k]) for k in (1, 3, 5)},
        ac_interval={k: wilson(mean(at[k]), n) for k in (1, 3, 5)},
        avg5=mean(average),
        avg5_interval=bootstrap(average),
        mrr=mean(rr),
        mrr_interval=bootstrap(rr),
        forced_ac={k: mean(forced[k]) for k in (1, 3, 5)},
        forced_avg5=mean([mean(forced[k]) for k in forced]),
        no_fault=len(quiet),
        specificity=specificity,
        specificity_interval=wilson(specificity, len(quiet)) if specificity is not None else None,
        no_origin=sum(p.ranking.outcome == "no-origin" for p in predictions),
        not_applicable=sum(p.ranking.outcome == "not-applicable" for p in predictions),
        failed=sum(p.ranking.outcome == "failed" for p in predictions),
        median_seconds=float(np.median([p.seconds for p in predictions])),
        max_seconds=max(p.seconds for p in predictions),
        peak_rss_bytes=max(p.peak_rss_bytes for p in predictions),
    )


def _counts(prediction: Prediction) -> float:
    return 1.0 if prediction.ranking.outcome == "ranked" else 0.0


def _credit(prediction: Prediction, k: int) -> float:
    return hits_at(prediction.ranking, prediction.case.answers or frozenset(), k) * _counts(prediction)


def score_all(predictions: Sequence[Prediction], by: Literal["system", "fault_type"] = "system") -> list[Score]:
    """Return a row per system (or fault type) and ranker, then a row ``all`` per ranker; blind cases are left out."""
    labelled = [p for p in predictions if p.case.answers is not None]
    rankers = list(dict.fromkeys(p.ranking.ranker for p in labelled))
    values = list(dict.fromkeys(getattr(p.case, by) for p in labelled))
    groups = [(value, [p for p in labelled if getattr(p.case, by) == value]) for value in values]
    groups += [("all", labelled)] if labelled else []
    return [score(g, r, [p for p in group if p.ranking.ranker == r]) for g, group in groups for r in rankers]
