"""Exclusive time per operation and the client-minus-server gap per edge, told apart by a star decomposition.

A stalled caller slows all its calls alike; a delayed callee slows only the calls to it, from every caller. So out(u) is
the lower median of the gap shifts over u's callees, the residual of an edge is its shift less out(u), and in(v) is the
mean residual over v's callers.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .finding import Finding, Windows

_MS = 1e6
_PRIOR_VARIANCE = 0.25  # of log milliseconds: standard deviation 0.5
_PRIOR_WEIGHT = 3
_MIN_SPANS = 50
# A shift of log time becomes nats: 0.2 of log(ms) beyond two standard errors counts as one nat.
_NATS_PER_LOG = 5.0


def shifts(baseline: pd.DataFrame, window: pd.DataFrame, keys: list[str], column: str) -> pd.Series:
    """Return the change of the mean of log(x + 1 ms) by key, pulled toward 0 by two standard errors.

    Only keys seen in both frames are compared: same with same.
    """

    def moments(frame: pd.DataFrame) -> pd.DataFrame:
        logs = np.log1p(frame[column].clip(lower=0) / _MS)
        groups = logs.groupby([frame[key] for key in keys])
        return pd.DataFrame({"n": groups.size(), "mean": groups.mean(), "var": groups.var().fillna(0.0)})

    both = moments(baseline).join(moments(window), suffixes=("_a", "_b"), how="inner")
    error = pd.Series(0.0, index=both.index)
    for side in ("a", "b"):
        n, var = both[f"n_{side}"], both[f"var_{side}"]
        shrunk = (var * (n - 1) + _PRIOR_VARIANCE * _PRIOR_WEIGHT) / (n - 1 + _PRIOR_WEIGHT)
        error = error + shrunk / n
    change = both.mean_b - both.mean_a
    return np.sign(change) * (change.abs() - 2 * np.sqrt(error)).clip(lower=0.0)


def _star(baseline: pd.DataFrame, window: pd.DataFrame) -> pd.DataFrame:
    """Return a frame by service with columns own, out, in: log shifts, NaN where nothing compares."""
    keys = ["service", "operation", "parent_operation"]
    local = [frame[~frame.has_remote_child] for frame in (baseline, window)]
    own = shifts(local[0], local[1], keys, "exclusive_ns").groupby("service").max()
    edges = []
    for frame in (baseline, window):
        crossing = frame[frame.has_parent & (frame.service != frame.parent_service)]
        edges.append(crossing.assign(gap=(crossing.parent_duration_ns - crossing.duration_ns).clip(lower=0)))
    gap = shifts(edges[0], edges[1], ["parent_service", "service", "parent_operation"], "gap")
    gap = gap.groupby(["parent_service", "service"]).max()
    # One callee cannot tell a stalled caller from a delayed callee.
    out = gap.groupby("parent_service").apply(lambda s: float(np.sort(s)[(len(s) - 1) // 2]) if len(s) > 1 else 0.0)
    rest = gap - out.reindex(gap.index.get_level_values(0)).to_numpy() if len(gap) else gap
    incoming = rest.groupby("service").mean()
    return pd.concat({"own": own, "out": out.astype(float), "in": incoming}, axis=1)


def weigh(windows: Windows) -> Finding:
    """Return latency evidence: the mean over both baselines, where each exists, of the best of own, out and in."""
    if len(windows.after) < _MIN_SPANS:
        return Finding("latency", not_checked=f"only {len(windows.after)} spans in the incident window")
    frames = [_star(b, windows.after) for b in (windows.quiet, windows.before) if len(b) >= _MIN_SPANS]
    if not frames:
        return Finding("latency", not_checked="no baseline spans to compare with")
    stacked = pd.concat(frames).fillna(0.0)
    # The quiet recording is trusted most: what precedes a late alert already holds the fault.
    parts = stacked.groupby(level=0).max() if len(frames) == 1 else 0.75 * frames[0].add(0, fill_value=0).fillna(0.0)
    if len(frames) > 1:
        parts = parts.add(0.25 * frames[1].fillna(0.0), fill_value=0.0)
    score, text, entity = {}, {}, {}
    words = {
        "own": "its own work takes longer",
        "out": "all its calls stall",
        "in": "calls to it are delayed on the way",
    }
    for service, row in parts.clip(lower=0.0).iterrows():
        name, value = str(service), float(row.max())
        if value > 0:
            kind = str(row.idxmax())
            score[name] = value * _NATS_PER_LOG
            text[name] = f"{words[kind]}: x{np.exp(value):.1f} beyond noise"
            entity[name] = (name, "service")
    return Finding("latency", score, text, entity)
