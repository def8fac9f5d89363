"""What the metric baselines share: the windows they compare, a scale without units, a score per series to a ranking."""

from __future__ import annotations

import numpy as np

from hypocenter.errors import NotApplicable

from ..case import MINUTE_NS, Case
from ..evidence.series import role_of
from ..metrics import Metrics
from ..ranking import Candidate, Ranking

NORMAL_NS = 30 * MINUTE_NS
ABNORMAL_NS = 10 * MINUTE_NS
_MIN_NORMAL_POINTS = 5
# A scale of zero gets a floor of 1 % of |centre|; so what a constant zero turns into is 100 scales away from it.
FLOOR = 0.01
# A score that is unknown stands below every known one, and ties with the other unknown ones.
UNKNOWN = -np.inf
INTERNAL = ("cpu", "memory", "disk", "socket")
EXTERNAL = ("latency", "error", "rate")


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


def mean_shift(normal: np.ndarray, abnormal: np.ndarray) -> np.ndarray:
    """Return |change of the mean| of each series in standard deviations of its normal, shape (n_series,)."""
    mean, deviation = moments(normal)
    return np.asarray(np.abs(scaled(moments(abnormal)[0] - mean, mean, deviation)))


def excursion(normal: np.ndarray, abnormal: np.ndarray) -> np.ndarray:
    """Return the largest |distance from the normal mean| of each series in its standard deviations, (n_series,)."""
    mean, deviation = moments(normal)
    return scaled(largest(np.abs(abnormal - mean[:, None])), mean, deviation)


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


def roles(case: Case) -> np.ndarray:
    """Return what each series measures (cpu, memory, disk, socket, latency, error, ...), by its name; "" unknown."""
    return np.array([role_of(str(name)) for name in case.metrics.series.name], dtype=object)


def symptom_of(case: Case) -> str | None:
    """Return the service that hurts: the given symptom, else the callerless node of the graph that moved most."""
    if case.symptom.entity:
        return case.symptom.entity
    moved = best_by_service(case, mean_shift(*split(case.metrics, case.alert_ns)))
    graph = case.call_graph
    entries = [n for n in graph if set(graph.predecessors(n)) <= {"external", n} and n in moved]
    return max(sorted(entries or moved), key=lambda s: moved[s], default=None)


def symptom_similarity(case: Case, symptom: str | None) -> dict[str, float]:
    """Return, per service, the largest |correlation| of its series with the symptom's latency (or most moved) series.

    Over the normal and the abnormal window together; constant series correlate with nothing (0), unknown ones likewise.
    """
    metrics = case.metrics
    own = np.flatnonzero((metrics.series.service == symptom).to_numpy())
    found = dict.fromkeys(services_of(case), 0.0)
    if not len(own):
        return found
    normal, abnormal = split(metrics, case.alert_ns)
    window = np.concatenate([normal, abnormal], axis=1)
    moved = np.nan_to_num(mean_shift(normal, abnormal), posinf=0.0)
    latency = own[roles(case)[own] == "latency"]
    chosen = latency if len(latency) else own
    indicator = chosen[np.argmax(moved[chosen])]
    similarity = np.abs(correlations(window, window[indicator]))
    similarity[indicator] = 0.0  # every series moves with itself
    for service, value in zip(metrics.series.service, similarity, strict=True):
        if service in found:
            found[service] = max(found[service], float(value))
    return found


def correlations(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each row of ``values`` (n_series, k) with ``target`` (k,) where both are known.

    0 for constant series and for fewer than 3 common points.

    >>> correlations(np.array([[1.0, 2, 3], [3, 2, 1], [5, 5, 5]]), np.array([2.0, 4, 6])).round(6)
    array([ 1., -1.,  0.])
    """
    known = np.isfinite(values) & np.isfinite(target)[None, :]
    n = known.sum(axis=1)
    x, y = np.where(known, values, 0.0), np.where(known, target[None, :], 0.0)
    safe = np.maximum(n, 1)
    x = np.where(known, x - (x.sum(axis=1) / safe)[:, None], 0.0)
    y = np.where(known, y - (y.sum(axis=1) / safe)[:, None], 0.0)
    norm = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    enough = (n >= 3) & (norm > 1e-12 * np.maximum((np.abs(values) * known).max(axis=1, initial=0.0), 1.0))
    return np.asarray(np.where(enough, (x * y).sum(axis=1) / np.where(norm > 0, norm, 1.0), 0.0))
