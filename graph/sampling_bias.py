"""Traces that were chosen by their outcome (tail sampling) and do not say so, found where metrics tell of all calls."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from ..tracer.window import MINUTE_NS
from .doctor import Finding
from .rollup import Rollups

# Below this share of the calls that metrics count, spans are a sample of them.
SAMPLED = 0.8
# What chance and bursts do not do, and what would be too small to matter.
_DEVIATIONS, _FACTOR, _LEAST_CALLS = 4.5, 2.0, 20
_ALL_FAILED_CALLS, _ALL_FAILED_NS = 200, 10 * MINUTE_NS
_REMEDY = (
    "traces kept for their outcome do not show how much there is: take rates, error shares and durations from metrics, "
    "and let the sampler write its threshold (tracestate ot=th) or keep a random share of all traces"
)
_KEY = ["caller", "callee"]


def is_unmarked_sample(count: np.ndarray, adjusted_count: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Tell which edges' spans are a sample without a sampling threshold: less than 80 % of what metrics ``told``.

    Shapes (n,) all; NaN in ``told`` is an edge that metrics do not tell of, never a sample.
    """
    sampled: np.ndarray = (count < SAMPLED * told) & (adjusted_count == count)
    return sampled


def biases(traced: Rollups, told: Rollups) -> list[Finding]:
    """Return what shows that the spans of ``traced`` are no fair sample of the calls that metrics ``told`` of.

    Only edges are compared that both know, that spans show less than 80 % of, and whose spans carry no sampling
    threshold. Subjects are edges with the calls that are too many or missing.

    Notes
    -----
    A share in the spans is compared with the same share in the metrics, which must differ twofold, by 20 calls, and by
    4.5 standard errors. The error is that of the sum over steps of 10 s, so bursts of failures within one step count as
    one event, plus that of independent calls. Without metrics only one sign is left: that every request failed.
    """
    spans, metrics = _frame(traced.edges), _frame(told.edges)
    spans = spans[(spans["client_count"] + spans["server_count"] > 0)]
    findings = [*_all_failed(spans)]
    sums = spans.groupby(_KEY)[["count", "adjusted_milli"]].sum()
    known = metrics.groupby(_KEY)["count"].sum().rename("told")
    both = sums.join(known, how="inner")
    numbers = (both["count"], both["adjusted_milli"] / 1000, both["told"])
    sampled = both[is_unmarked_sample(*(column.to_numpy() for column in numbers))].index
    spans = spans[pd.MultiIndex.from_frame(spans[_KEY]).isin(sampled)]
    metrics = metrics[pd.MultiIndex.from_frame(metrics[_KEY]).isin(sampled)]
    if spans.empty:
        return findings
    share = metrics.groupby(_KEY)["errors"].sum() / metrics.groupby(_KEY)["count"].sum()
    failed = spans.assign(calls=spans["count"], seen=spans["errors"])
    found = _excess(failed, share, known, "spans fail more often than the metrics of the same calls: tail sampling")
    return [*findings, *found, *_quick_missing(spans, metrics)]


def _frame(edges: pa.Table) -> pd.DataFrame:
    columns = ["count", "adjusted_milli", "errors", "client_count", "server_count", "server_duration"]
    return edges.select(["time_ns", *_KEY, *columns]).to_pandas().fillna({"caller": "", "callee": ""})


def _excess(steps: pd.DataFrame, share: pd.Series, told: pd.Series, title: str) -> Iterator[Finding]:
    """Yield a finding if ``seen`` of ``calls`` is far above the share of the same edges in ``told`` calls."""
    expected = steps["calls"] * share.reindex(pd.MultiIndex.from_frame(steps[_KEY])).to_numpy()
    residual = steps["seen"] - expected
    excess, seen = float(residual.sum()), float(steps["seen"].sum())
    calls = steps.groupby(_KEY)["calls"].sum()
    p = share.reindex(calls.index)
    chance = float((calls * p * (1 - p) * (1 + calls / told.reindex(calls.index))).sum())
    bursts = float((residual.groupby(steps["time_ns"]).sum() ** 2).sum())
    if excess >= max(_LEAST_CALLS, _DEVIATIONS * math.sqrt(chance + bursts)) and seen >= _FACTOR * (seen - excess):
        by_edge = residual.groupby([steps[name] for name in _KEY]).sum().sort_values(ascending=False)
        subjects = tuple((f"{a} -> {b}", round(n)) for (a, b), n in by_edge.items() if round(n) > 0)
        yield Finding(title, _REMEDY, subjects)


def _quick_missing(spans: pd.DataFrame, metrics: pd.DataFrame) -> Iterator[Finding]:
    """Compare the share of calls slower than the metrics' median; buckets as coarse as theirs decide for no bias."""
    slow_share: dict[tuple[str, str], float] = {}
    bound: dict[tuple[str, str], float] = {}
    told: dict[tuple[str, str], int] = {}
    for edge, rows in metrics.groupby(_KEY):
        buckets = _counts(rows["server_duration"])
        total = sum(buckets.values())
        below = np.cumsum(list(buckets.values()))
        at = int(np.searchsorted(below, total / 2)) if total else 0
        # Of a metric's bucket only the middle is known; the middle of the next one surely lies beyond its end.
        if at + 1 < len(buckets):
            key = (str(edge[0]), str(edge[1]))
            slow_share[key], told[key] = 1 - below[at] / total, total
            bound[key] = list(buckets)[at + 1]
    index = pd.MultiIndex.from_frame(spans[_KEY])
    steps = spans[index.isin(list(bound))]
    if steps.empty:
        return
    edges = list(zip(steps["caller"], steps["callee"], strict=True))
    counts = [_counts([bins]) for bins in steps["server_duration"]]
    calls = [sum(c.values()) for c in counts]
    slow = [sum(n for b, n in c.items() if b > bound[edge]) for edge, c in zip(edges, counts, strict=True)]
    names = pd.MultiIndex.from_tuples(list(bound), names=_KEY)
    yield from _excess(
        steps.assign(calls=calls, seen=slow),
        pd.Series(list(slow_share.values()), names),
        pd.Series(list(told.values()), names),
        "spans are slower than the metrics of the same calls: tail sampling leaves out the quick ones",
    )


def _counts(histograms: object) -> dict[int, int]:
    """Return the sum of histograms by bucket, ascending."""
    found: dict[int, int] = {}
    for bins in histograms:  # type: ignore[attr-defined]
        for item in bins if bins is not None else ():
            found[item["bucket"]] = found.get(item["bucket"], 0) + item["count"]
    return dict(sorted(found.items()))


def _all_failed(spans: pd.DataFrame) -> Iterator[Finding]:
    entries = spans[spans["caller"] == "external"]
    calls = entries.groupby(_KEY)["count"].sum()
    lasting = entries["time_ns"].max() - entries["time_ns"].min() if len(entries) else 0
    failed = entries["errors"].sum()
    if failed >= _ALL_FAILED_CALLS and failed == calls.sum() and lasting >= _ALL_FAILED_NS:
        subjects = tuple((f"{a} -> {b}", int(n)) for (a, b), n in calls.items())
        yield Finding("every request failed: nothing works, or only traces with errors are kept", _REMEDY, subjects)
