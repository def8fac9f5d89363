"""Metrics of a service against their own past: saturation as headroom, everything else as a robust shift."""

from __future__ import annotations

import re

import numpy as np

from ..case import MINUTE_NS, Case
from ..metrics import Metrics
from .finding import Finding

NORMAL_NS = 30 * MINUTE_NS
ABNORMAL_NS = 10 * MINUTE_NS
# The recorder's own footprint or the consequence of traffic, not a cause.
_IGNORED = re.compile(r"workload|ops\)|requests", re.IGNORECASE)
_PERCENT = re.compile(r"cpu.*rate\(%\)|cpu.*(?:utili[sz]ation|ratio|percent)", re.IGNORECASE)


def robust_shift(normal: np.ndarray, abnormal: np.ndarray) -> np.ndarray:
    """Return |median change| over the baseline's interquartile range, per series; shape (n_series,), NaN if unknown.

    The scale has a floor of 1 % of |median|, so that constant series stay unit-free; a constant zero is unknown.
    """
    with np.errstate(all="ignore"):
        low, centre, high = quartiles(normal)
        _, now, _ = quartiles(abnormal)
        scale = np.maximum(high - low, 0.01 * np.abs(centre))
        shift = np.abs(now - centre) / scale
    return np.where(scale > 0, shift, np.nan)


def quartiles(values: np.ndarray) -> np.ndarray:
    """Return the quartiles of each series, shape (3, n_series); NaN where nothing is known."""
    if values.shape[1] == 0:
        return np.full((3, values.shape[0]), np.nan)
    known = np.isfinite(values).any(axis=1)
    result = np.full((3, values.shape[0]), np.nan)
    if known.any():
        result[:, known] = np.nanpercentile(values[known], [25, 50, 75], axis=1)
    return result


def split(metrics: Metrics, alert_ns: int, *, drop_ns: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return (normal, abnormal) columns around the alert; when nothing precedes it closely, all that is older."""
    abnormal = metrics.between(alert_ns, alert_ns + ABNORMAL_NS)
    normal = metrics.between(alert_ns - NORMAL_NS, alert_ns - drop_ns)
    if np.isfinite(normal).sum(axis=1).max(initial=0) < 5:
        outside = (metrics.time_ns < alert_ns) | (metrics.time_ns >= alert_ns + ABNORMAL_NS)
        normal = metrics.values[:, outside]
    return normal, abnormal


def weigh(case: Case) -> Finding:
    """Return saturation evidence: nats by service of CPU headroom lost, change of -log(1 - usage / limit)."""
    metrics = case.metrics
    if not len(metrics.time_ns):
        return Finding("saturation", not_checked="no metrics")
    rows = metrics.series.name.str.contains(_PERCENT) & ~metrics.series.name.str.contains("node", case=False)
    rows &= metrics.series.service.notna()
    if not rows.any():
        return Finding("saturation", not_checked="no CPU usage relative to a limit among the metrics")
    normal, abnormal = split(metrics, case.alert_ns)
    score: dict[str, float] = {}
    text: dict[str, str] = {}
    entity: dict[str, tuple[str, str]] = {}
    for index in np.flatnonzero(rows.to_numpy()):
        before, now = normal[index], abnormal[index]
        before, now = before[np.isfinite(before)], now[np.isfinite(now)]
        if len(before) < 3 or not len(now):
            continue
        usage_before, usage_now = np.median(before) / 100, np.max(now) / 100
        lost = -np.log1p(-min(usage_now, 0.99)) + np.log1p(-min(usage_before, 0.99))
        if lost > 0.1:
            service = str(metrics.series.service.iloc[index])
            if lost > score.get(service, 0.0):
                score[service] = float(lost)
                text[service] = f"CPU at {usage_now:.0%} of its limit, {usage_before:.0%} before"
                entity[service] = (str(metrics.series.pod.iloc[index] or service), "pod")
    return Finding("saturation", score, text, entity)


def anomaly(case: Case) -> Finding:
    """Return, per service, log(1 + the largest robust shift over its metrics), less what its callees explain."""
    metrics = case.metrics
    if not len(metrics.time_ns):
        return Finding("metric anomaly", not_checked="no metrics")
    normal, abnormal = split(metrics, case.alert_ns)
    shift = robust_shift(normal, abnormal)
    usable = metrics.series.service.notna() & ~metrics.series.name.str.contains(_IGNORED)
    frame = metrics.series.assign(times_spread=shift)[usable.to_numpy() & np.isfinite(shift)]
    if frame.empty:
        return Finding("metric anomaly", not_checked="no metric has both a baseline and an incident window")
    best = frame.loc[frame.groupby("service").times_spread.idxmax()]
    raw = {str(r.service): float(np.log1p(r["times_spread"])) for _, r in best.iterrows()}
    text = {
        str(r.service): f"{r['name']} moved {r['times_spread']:.1f} times its usual spread" for _, r in best.iterrows()
    }
    graph = case.call_graph
    score = {}
    for service, value in raw.items():
        callees = [raw.get(c, 0.0) for c in graph.successors(service)] if service in graph else []
        # Performance that is inherited is no origin: an anomalous callee takes half of it away.
        score[service] = value - 0.5 * max([c for c in callees if c > np.log1p(3)], default=0.0)
    return Finding("metric anomaly", score, text, {s: (s, "service") for s in score})
