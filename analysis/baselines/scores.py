"""What the metric baselines share: a score per series becomes a ranking of services."""

from __future__ import annotations

import numpy as np

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranking import Candidate, Ranking


def services_of(case: Case) -> list[str]:
    """Return every service that the telemetry or the topology names, sorted."""
    names = set(case.call_graph.nodes)
    for signal in ("spans", "series"):
        names |= set(case.telemetry.table(signal)["service"].unique().to_pylist())
    return sorted(str(name) for name in names if name and name != "external")


def require_metrics(case: Case) -> None:
    """Raise `NotApplicable` when the case holds no metric of a service."""
    if not len(case.metrics.time_ns) or not case.metrics.series.service.notna().any():
        raise NotApplicable("no metrics that belong to a service")


def rank_by(name: str, case: Case, series_score: np.ndarray) -> Ranking:
    """Return services by the largest score of their series; NaN counts as unknown and goes last, ties by name."""
    best = dict.fromkeys(services_of(case), -np.inf)
    for service, score in zip(case.metrics.series.service, series_score, strict=True):
        if service in best and np.isfinite(score):
            best[service] = max(best[service], float(score))
    return ordered(name, best)


def ordered(name: str, scores: dict[str, float]) -> Ranking:
    """Return a ranking by falling score, ties by name; unknown scores become 0."""
    finite = {s: (v if np.isfinite(v) else 0.0) for s, v in scores.items()}
    order = sorted(finite, key=lambda s: (-finite[s], s))
    return Ranking(name, "ranked", tuple(Candidate(s, "service", s, None, None, finite[s]) for s in order))
