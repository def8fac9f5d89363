"""What changed between two graphs: calls that appeared, vanished, or changed in rate, errors or duration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hypocenter.errors import GraphError
from hypocenter.legible import duration

from ..tracer.window import to_rfc3339
from .calls import Calls

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .dependency_graph import DependencyGraph

Floats = npt.NDArray[np.float64]
_ENDS = ["source", "target"]
DIFF_COLUMNS = ["source", "target", "change", "measure", "before", "after", "effect", "p_value", "is_significant"]
# The share of edges without a change that may be called changed (Benjamini and Hochberg 1995).
FALSE_DISCOVERY_RATE = 0.01
# With enough traffic any difference is beyond chance; below these nobody would act. Ratios, but for the error ratio.
_SIDES = ("client", "server", "gap", "queue")
LEAST_EFFECT = {"rate_per_s": 1.25, "error_ratio": 0.005, **{f"{side}_p50_s": 1.1 for side in _SIDES}}
# A variance seen in few calls is drawn towards this one of log seconds, which counts as so many calls.
_PRIOR_VARIANCE, _PRIOR_WEIGHT = 0.25, 3.0


@dataclass(frozen=True)
class GraphDiff:
    """The changes from ``before`` to ``after``.

    ``table`` has a row per edge that appeared or vanished and a row per edge and measure seen in both, the most certain
    change first: ``effect`` is after / before (of durations: of the geometric means of 1 ms + duration), for
    ``error_ratio`` the difference; ``p_value`` is two-sided; ``is_significant`` holds the false discoveries to 1 % and
    asks for an effect of `LEAST_EFFECT`. NaN is unknown: that side has no such measure.
    """

    before: DependencyGraph
    after: DependencyGraph
    table: pd.DataFrame

    @property
    def appeared(self) -> pd.DataFrame:
        """Edges that only ``after`` has."""
        return self._with("appeared")

    @property
    def vanished(self) -> pd.DataFrame:
        """Edges that only ``before`` has."""
        return self._with("vanished")

    @property
    def changed(self) -> pd.DataFrame:
        """Edges in both whose rate, error ratio or duration changed significantly."""
        return self._with("changed").query("is_significant").reset_index(drop=True)

    @cached_property
    def versions(self) -> pd.DataFrame:
        """Services with a version on one side only: ``service, version, change, before, after`` (requests)."""
        sides = [g.versions.set_index(["service", "version"])["requests"] for g in (self.before, self.after)]
        both = pd.concat(sides, axis=1, keys=["before", "after"]).reset_index()
        services = set(self.before.nodes["id"]) & set(self.after.nodes["id"])
        one_sided = both[both[["before", "after"]].isna().any(axis=1) & both["service"].isin(services)]
        change = np.where(one_sided["before"].isna(), "appeared", "vanished")
        found = one_sided.assign(change=change).fillna({"before": 0, "after": 0})
        found = found.astype({"before": "int64", "after": "int64"})
        ordered = found.sort_values(["service", "change", "version"], ascending=[True, False, True], ignore_index=True)
        return ordered[["service", "version", "change", "before", "after"]]

    def _with(self, change: str) -> pd.DataFrame:
        return self.table[self.table["change"] == change].reset_index(drop=True)

    @property
    def effects(self) -> pd.DataFrame:
        """After / before of each edge (of ``error_ratio`` the difference), a column a measure, the slowest first."""
        both = self._with("changed")
        wide = both.pivot(index=["source", "target"], columns="measure", values="effect")
        wide = wide.reindex(columns=list(LEAST_EFFECT)).rename_axis(columns=None)
        return wide.sort_values("client_p50_s", ascending=False, kind="stable")

    @property
    def told(self) -> pd.DataFrame:
        """The rows worth telling, with ``text``: what appeared, vanished or changed significantly."""
        parts = {name: getattr(self, name) for name in ("appeared", "vanished", "changed")}
        rows = pd.concat([part for part in parts.values() if len(part)] or [self.table.head(0)], ignore_index=True)
        return rows.assign(
            text=[_in_words(row) if row.change == "changed" else row.change for row in rows.itertuples()]
        )

    def figure(self) -> go.Figure:
        """Return both graphs as one map, the calls coloured and dashed by what became of them."""
        from hypocenter.figures import diff_map

        # Type checkers see the folder at the root and the package as two.
        before: Any = self.before
        after: Any = self.after
        return diff_map(before, after, self.told)

    def to_frame(self) -> pd.DataFrame:
        """Return every comparison (`DIFF_COLUMNS`)."""
        return self.table.copy()

    def to_json(self) -> dict[str, Any]:
        """Return ``{"before", "after", "appeared", "vanished", "changed", "versions"}``, ready for JSON."""
        from .export import records

        windows = {
            name: {"start": to_rfc3339(graph.window.start_ns), "end": to_rfc3339(graph.window.end_ns)}
            for name, graph in (("before", self.before), ("after", self.after))
        }
        changes = {name: records(getattr(self, name)) for name in ("appeared", "vanished", "changed")}
        return windows | changes | {"versions": records(self.versions)}

    def __str__(self) -> str:
        lines = [f"from {self.before.window} to {self.after.window}"]
        for row in self.versions.itertuples():
            lines.append(f"version {row.change}: {row.service} {row.version}")
        for change in ("appeared", "vanished"):
            for row in self._with(change).itertuples():
                rate = row.after if change == "appeared" else row.before
                doubt = "" if row.is_significant else "; too few calls to be sure"
                lines.append(f"{change}: {row.source} -> {row.target} ({rate:.3g}/s{doubt})")
        for row in self.changed.itertuples():
            lines.append(f"changed: {row.source} -> {row.target}: {_in_words(row)}")
        return "\n".join([*lines, *([] if len(lines) > 1 else ["no significant change"])])

    def __repr__(self) -> str:
        counts = {name: len(getattr(self, name)) for name in ("appeared", "vanished", "changed")}
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        return f"<GraphDiff from {self.before.window} to {self.after.window}: {told}>"

    def _repr_html_(self) -> str:
        shown = self.table[self.table["is_significant"] | (self.table["change"] != "changed")]
        return str(shown.to_html(index=False, escape=True, na_rep="", float_format=lambda v: f"{v:.4g}", border=0))


def _in_words(row: Any) -> str:
    chance = f"p {row.p_value:.1g}" if row.p_value >= 1e-9 else "p < 1e-9"
    if row.measure == "error_ratio":
        return f"errors {row.before:.2%} -> {row.after:.2%} ({chance})"
    if row.measure == "rate_per_s":
        return f"rate {row.before:.3g}/s -> {row.after:.3g}/s (x{row.effect:.2f}, {chance})"
    name = row.measure.removesuffix("_s").replace("_", " ")
    return f"{name} {duration(row.before)} -> {duration(row.after)} (x{row.effect:.2f}, {chance})"


def diff(before: DependencyGraph, after: DependencyGraph) -> GraphDiff:
    """Return the changes of every edge.

    Notes
    -----
    Rates are compared by their variance from step to step, since traffic is burstier than a Poisson process, and a call
    that stands for k makes the sum vary k times as much (`hypocenter.graph.calls.Calls.dispersion`); error ratios by
    the two-proportion z-test; durations, the gap and the time in a queue by Welch's test on log(1 ms + duration) from
    the histograms. An edge on one side only is as improbable as all its n calls falling there:
    (S_own / (S_own + S_other))^n, S being the seconds of a side over what a call of the caller stands for there.
    """
    if not (before.windows and after.windows):
        raise GraphError("rates are compared, and a graph that came from a file without times has none")
    edges = [graph.edges.set_index(_ENDS).sort_index() for graph in (before, after)]
    both = edges[0].index.intersection(edges[1].index)
    parts = [
        _one_sided(before, after, edges[0], both, "vanished"),
        _one_sided(after, before, edges[1], both, "appeared"),
    ]
    rows = [index.get_indexer(both) for index in (edges[0].index, edges[1].index)]
    old, new = (frame.iloc[r] for frame, r in zip(edges, rows, strict=True))
    parts.append(_compared(both, "rate_per_s", old, new, *_rate_test(before, after, old, new, rows)))
    parts.append(_compared(both, "error_ratio", old, new, *_error_test(old, new)))
    for side in _SIDES:
        moments = [g.calls.durations[side] for g in (before, after)]
        parts.append(_compared(both, f"{side}_p50_s", old, new, *_duration_test(moments, rows)))
    table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    table["is_significant"] = _discoveries(table["p_value"].to_numpy()) & _is_felt(table)
    kind = table["change"].map({"appeared": 0, "vanished": 1, "changed": 2})
    order = table.assign(kind=kind).sort_values(["p_value", "kind", "source", "target", "measure"], kind="stable").index
    return GraphDiff(before, after, table.loc[order, DIFF_COLUMNS].reset_index(drop=True))


def _one_sided(
    own: DependencyGraph, other: DependencyGraph, edges: pd.DataFrame, both: pd.MultiIndex, change: str
) -> pd.DataFrame:
    only = edges.loc[edges.index.difference(both)]
    callers = only.index.get_level_values("source")
    seen, unseen = own.duration_s / _stands_for(own, callers), other.duration_s / _stands_for(other, callers)
    rate, zero = only["rate_per_s"].to_numpy(), np.zeros(len(only))
    frame = only.index.to_frame(index=False)
    frame["change"], frame["measure"] = change, "rate_per_s"
    frame["before"], frame["after"] = (rate, zero) if change == "vanished" else (zero, rate)
    frame["effect"] = 0.0 if change == "vanished" else np.inf
    frame["p_value"] = (seen / (seen + unseen)) ** only["count"].to_numpy(dtype=float)
    return frame


def _stands_for(graph: DependencyGraph, callers: pd.Index[str]) -> Floats:
    """Return for how many calls a call of each caller stands, as far as it makes any; else one of the whole graph."""
    numbers = graph.edges[["count", "adjusted_count"]]
    whole, of = numbers.sum(), numbers.groupby(graph.edges["source"]).sum()
    factor = (of["adjusted_count"] / of["count"]).reindex(callers)
    known = factor.fillna(whole["adjusted_count"] / whole["count"] if whole["count"] else 1.0)
    return np.asarray(known, dtype=np.float64)


def _compared(
    ends: pd.MultiIndex, measure: str, old: pd.DataFrame, new: pd.DataFrame, effect: Floats, z: Floats
) -> pd.DataFrame:
    frame = ends.to_frame(index=False)
    frame["change"], frame["measure"] = "changed", measure
    frame["before"], frame["after"] = old[measure].to_numpy(), new[measure].to_numpy()
    frame["effect"], frame["p_value"] = effect, [math.erfc(abs(value) / math.sqrt(2)) for value in z]
    return frame


def _rate_test(
    before: DependencyGraph,
    after: DependencyGraph,
    old: pd.DataFrame,
    new: pd.DataFrame,
    rows: list[npt.NDArray[np.intp]],
) -> tuple[Floats, Floats]:
    variance = np.zeros(len(old))
    for graph, edges, row in ((before, old, rows[0]), (after, new, rows[1])):
        variance += edges["rate_per_s"].to_numpy() / graph.duration_s * _dispersion(graph)[row]
    change = (new["rate_per_s"] - old["rate_per_s"]).to_numpy()
    return (new["rate_per_s"] / old["rate_per_s"]).to_numpy(), change / np.sqrt(variance)


def _dispersion(graph: DependencyGraph) -> Floats:
    """Return how much the calls of each edge vary from step to step, of those whose rate metrics tell by these."""
    from_spans, told = graph.calls, Calls.of(graph.matched.edges)
    varies = pd.Series(told.dispersion(graph.steps, graph.step_ns), pd.MultiIndex.from_frame(told.ends[_ENDS]))
    ends = pd.MultiIndex.from_frame(from_spans.ends[_ENDS])
    by_metrics = graph.edges.set_index(_ENDS)["rate_from"].reindex(ends).eq("metrics").to_numpy()
    own = from_spans.dispersion(graph.steps, graph.step_ns)
    return np.where(by_metrics, varies.reindex(ends).to_numpy(), own)


def _error_test(old: pd.DataFrame, new: pd.DataFrame) -> tuple[Floats, Floats]:
    # Of as many calls as the source of the ratio saw.
    (n_0, share_0), (n_1, share_1) = (
        (np.where(e["errors_from"] == "metrics", e["adjusted_count"], e["count"]), e["error_ratio"].to_numpy())
        for e in (old, new)
    )
    pooled = (n_0 * share_0 + n_1 * share_1) / (n_0 + n_1)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n_0 + 1 / n_1))
    change = share_1 - share_0
    # All calls failed, or none, on both sides: nothing changed, and there is no error to divide by.
    return change, np.divide(change, error, out=np.zeros_like(change), where=error > 0)


def _duration_test(durations: list[Any], rows: list[npt.NDArray[np.intp]]) -> tuple[Floats, Floats]:
    (mean_0, square_0), (mean_1, square_1) = (
        _mean_and_squared_error(d.totals()[row].astype(float), *(m[row] for m in d.log_moments()))
        for d, row in zip(durations, rows, strict=True)
    )
    return np.exp(mean_1 - mean_0), (mean_1 - mean_0) / np.sqrt(square_0 + square_1)


def _mean_and_squared_error(count: Floats, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    drawn = (count * variance + _PRIOR_WEIGHT * _PRIOR_VARIANCE) / (count + _PRIOR_WEIGHT)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean, np.where(count > 0, drawn / count, np.nan)


def _discoveries(p_values: Floats) -> npt.NDArray[np.bool_]:
    """Return which comparisons stand at the false discovery rate; unknown ones never do."""
    known = ~np.isnan(p_values)
    ranked = np.sort(p_values[known])
    passing = ranked[ranked <= FALSE_DISCOVERY_RATE * np.arange(1, len(ranked) + 1) / max(1, len(ranked))]
    return known & (p_values <= (passing[-1] if len(passing) else -1.0))


def _is_felt(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    least = table["measure"].map(LEAST_EFFECT).to_numpy(dtype=float)
    effect = table["effect"].to_numpy(dtype=float)
    is_difference = (table["measure"] == "error_ratio").to_numpy()
    with np.errstate(divide="ignore"):
        size = np.where(is_difference, np.abs(effect), np.exp(np.abs(np.log(np.where(is_difference, 1.0, effect)))))
    return np.asarray(size >= least)
