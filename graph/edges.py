"""The edges of a graph as a table: what spans and metrics tell of the calls between two nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from ..tracer.window import MINUTE_NS, SECOND_NS, Window, to_rfc3339
from .calls import Calls
from .sampling_bias import is_unmarked_sample

if TYPE_CHECKING:
    from .dependency_graph import DependencyGraph

EDGE_COLUMNS: Final = [
    *("source", "target", "kind"),
    *("count", "adjusted_count", "rate_per_s", "errors", "error_ratio"),
    *("client_count", "client_errors", "server_count", "server_errors", "http_4xx", "http_5xx", "missing_parents"),
    *("timeouts", "calls_per_request", "retries", "hedges"),
    *("client_p50_s", "client_p95_s", "server_p50_s", "server_p95_s", "gap_p50_s", "gap_p95_s"),
    *("queue_p50_s", "queue_p95_s", "critical_share", "known_from", "rate_from", "errors_from", "durations_from"),
]
_COUNTED_BY_SPANS: Final = ("http_4xx", "http_5xx", "retries", "hedges")


def edges(graph: DependencyGraph) -> pd.DataFrame:
    """Return a row per caller -> callee (`EDGE_COLUMNS`), the busiest first; missing is unknown."""
    calls = graph.calls
    frame = calls.ends.copy()
    for column in ("count", "errors", "client_count", "server_count", "missing_parents"):
        frame[column] = calls.total(column)
    for column, side in (("client_errors", "client"), ("server_errors", "server"), ("timeouts", "client")):
        frame[column] = pd.Series(calls.total(column), dtype="Int64").mask(frame[f"{side}_count"] == 0)
    is_traced = frame["client_count"] + frame["server_count"] > 0
    requests = pd.Series(calls.total("caller_requests"))
    frame["calls_per_request"] = (frame["count"] / requests).where(requests > 0)
    for column, is_known in zip(_COUNTED_BY_SPANS, (is_traced, is_traced, requests > 0, requests > 0), strict=True):
        frame[column] = pd.Series(calls.total(column), dtype="Int64").mask(~is_known)
    critical_s = pd.Series(calls.total("critical_ns") / SECOND_NS).where(is_traced)
    frame["critical_share"] = critical_s / (graph.critical_s or np.nan)
    frame["adjusted_count"] = calls.total("adjusted_milli") / 1000
    frame["error_ratio"] = frame["errors"] / frame["count"]
    for side, durations in calls.durations.items():
        for q in (50, 95):
            frame[f"{side}_p{q}_s"] = durations.quantile(q / 100)
    frame = _with_told(frame, graph) if graph.windows else _untimed(frame)
    frame["rate_per_s"] = frame["adjusted_count"] / (graph.duration_s or np.nan)
    order = ["adjusted_count", "source", "target"]
    return frame.sort_values(order, ascending=[False, True, True])[EDGE_COLUMNS].reset_index(drop=True)


def over_time(graph: DependencyGraph, step_ns: int = MINUTE_NS) -> pd.DataFrame:
    """Return a row per step and caller -> callee with calls in it: ``start`` (RFC 3339), then `EDGE_COLUMNS`.

    Steps are multiples of the graph's own (10 s) since the epoch, cut to its window; else ValueError.
    """
    if step_ns <= 0 or step_ns % graph.step_ns:
        raise ValueError(f"expected a multiple of {graph.step_ns // SECOND_NS} s in nanoseconds, got {step_ns}")
    graph = graph.with_matched()
    parts = []
    for window in graph.windows:
        for start_ns in range(window.start_ns // step_ns * step_ns, window.end_ns, step_ns):
            step = Window(max(start_ns, window.start_ns), min(start_ns + step_ns, window.end_ns))
            part = edges(replace(graph.within(Window(start_ns, start_ns + step_ns)), windows=(step,)))
            part.insert(0, "start", to_rfc3339(step.start_ns))
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["start", *EDGE_COLUMNS])


def _with_told(frame: pd.DataFrame, graph: DependencyGraph) -> pd.DataFrame:
    """Return the edges with the source of each number, rates and shares of errors from metrics where these win."""
    told = Calls.of(graph.matched.edges)
    sums = pd.DataFrame({name: told.total(name) for name in ("count", "errors")}, told.ends.index)
    sums.index = pd.MultiIndex.from_frame(told.ends[["source", "target"]])
    found = sums.reindex(pd.MultiIndex.from_frame(frame[["source", "target"]]))
    calls, failed = (found[name].to_numpy(dtype=float) for name in ("count", "errors"))
    is_told = ~np.isnan(calls)
    is_traced = (frame["client_count"] + frame["server_count"] > 0).to_numpy()
    wins = is_traced & is_unmarked_sample(frame["count"].to_numpy(), frame["adjusted_count"].to_numpy(), calls)
    frame["adjusted_count"] = np.where(wins, calls, frame["adjusted_count"])
    frame["error_ratio"] = np.where(wins, failed / np.where(wins, calls, 1), frame["error_ratio"])
    frame["known_from"] = np.select([~is_traced, is_told], ["metrics", "traces and metrics"], "traces")
    frame["rate_from"] = frame["errors_from"] = np.where(wins | ~is_traced, "metrics", "traces")
    frame["durations_from"] = np.where(is_traced, "traces", "metrics")
    return frame


def _untimed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the edges of a file: nothing is known but, at best, how many calls there were."""
    no_count = frame["count"] == 0
    frame["count"] = frame["count"].astype("Int64").mask(no_count)
    frame["errors"] = pd.array([None] * len(frame), dtype="Int64")
    frame["adjusted_count"] = frame["adjusted_count"].mask(no_count)
    frame["error_ratio"] = np.nan
    frame["known_from"] = "file"
    return frame.assign(rate_from=None, errors_from=None, durations_from=None)
