"""What the metric baselines share: the windows they compare, a scale without units, a score per series to a ranking."""

from __future__ import annotations

import numpy as np

from hypocenter.errors import NotApplicable

from ..case import MINUTE_NS, Case
from ..metrics import Metrics
from ..ranking import Candidate, Ranking

NORMAL_NS = 30 * MINUTE_NS
ABNORMAL_NS = 10 * MINUTE_NS
_MIN_NORMAL_POINTS = 5
# A scale of zero gets a floor of 1 % of |centre|; so what a constant zero turns into is 100 scales away from it.
FLOOR = 0.01
# A score that is unknown stands below every known one, and ties with the other unknown ones.
UNKNOWN = -np.inf


def split(metrics: Metrics, alert_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (normal, abnormal): 30 minutes before the alert and 10 after it, shapes (n_series, k).

    When fewer than 5 steps precede the alert closely, all that lies outside the abnormal window is normal.
    """
    abnormal = metrics.between(alert_ns, alert_ns + ABNORMAL_NS)
    normal = metrics.between(alert_ns - NORMAL_NS, alert_ns)
    if np.isfinite(normal).sum(axis=1).max(initial=0) < _MIN_NORMAL_POINTS:
        outside = (metrics.time_ns < alert_ns) | (metrics.time_ns >= alert_ns + ABNORMAL_NS)
        normal = metrics.values[:, outside]
    return normal, abnormal


def scaled(change: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return ``change / max(scale, 1 % of |centre|)``, any shape that broadcasts; NaN where an input is unknown.

    Where that scale is zero (a series that was constantly zero) the score saturates: 1 / 1 % = 100 with the sign of the
    change, 0 without change. So constants give finite scores, whatever the unit.

    >>> scaled(np.array([3.0, 3.0, 3.0, 0.0]), np.array([0.0, 10.0, 0.0, 0.0]), np.array([2.0, 0.0, 0.0, 0.0]))
    array([  1.5,  30. , 100. ,   0. ])
    """
    floored = np.maximum(scale, FLOOR * np.abs(centre))
    flat = floored == 0
    return np.asarray(np.where(flat, np.sign(change) / FLOOR, change / np.where(flat, 1.0, floored)))


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean, standard deviation) of each series over what is known, shapes (n_series,); NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    safe = np.maximum(counts, 1)
    mean = np.where(known, values, 0.0).sum(axis=1) / safe
    variance = (np.where(known, values - mean[:, None], 0.0) ** 2).sum(axis=1) / safe
    nothing = counts == 0
    return np.where(nothing, np.nan, mean), np.where(nothing, np.nan, np.sqrt(variance))


def quartiles(values: np.ndarray) -> np.ndarray:
    """Return the quartiles of each series, shape (3, n_series); NaN where nothing is known."""
    found = np.full((3, len(values)), np.nan)
    known = np.isfinite(values).any(axis=1)
    if known.any():
        found[:, known] = np.nanpercentile(values[known], [25, 50, 75], axis=1)
    return found


def largest(values: np.ndarray) -> np.ndarray:
    """Return the maximum of each series over what is known, shape (n_series,); NaN where nothing is."""
    return np.asarray(np.fmax.reduce(values, axis=1, initial=np.nan))


def services_of(case: Case) -> list[str]:
    """Return every service that the topology, the telemetry or the baseline names, sorted."""
    names = set(case.call_graph.nodes)
    for batch in (case.telemetry, case.baseline):
        for signal in ("spans", "series"):
            names |= set(batch.table(signal)["service"].unique().to_pylist())
    return sorted(str(name) for name in names if name and name != "external")


def require_metrics(case: Case) -> None:
    """Raise `NotApplicable` when the case holds no metric of a service."""
    if not len(case.metrics.time_ns) or not case.metrics.series.service.notna().any():
        raise NotApplicable("no metrics that belong to a service")


def best_by_service(case: Case, series_score: np.ndarray) -> dict[str, float]:
    """Return the largest known score of each service's series; `UNKNOWN` for a service without one."""
    best = dict.fromkeys(services_of(case), UNKNOWN)
    for service, score in zip(case.metrics.series.service, series_score, strict=True):
        if service in best and np.isfinite(score):
            best[service] = max(best[service], float(score))
    return best


def rank_by(name: str, case: Case, series_score: np.ndarray) -> Ranking:
    """Return services by the largest score of their series; unknown ones last, ties by name."""
    return ordered(name, best_by_service(case, series_score))


def ordered(name: str, scores: dict[str, float]) -> Ranking:
    """Return a ranking by falling score, ties by name; `UNKNOWN` stays unknown, at the end."""
    order = sorted(scores, key=lambda s: (-scores[s], s))
    return Ranking(name, "ranked", tuple(Candidate(s, "service", s, None, None, scores[s]) for s in order))
