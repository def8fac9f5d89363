"""Rate, errors and duration of whoever a report speaks of: before and since the onset, over time, and in one trace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..graph.one_trace import laid_out

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..figures import Panel
    from ..tracer.batch import Batch

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_STEPS_WANTED = 90
_CALLS_A_STEP = 3
_MOVED_METRICS = 4
_MOVED_SPREADS = 3.0
_METRIC_STEPS = 8  # shown before the onset, even where the spans begin later
_RATE_CALLS = 30
_SLOWER, _FAILS_MORE = 1.25, 0.005  # what counts as a change: a ratio of durations, a difference of shares


@dataclass(frozen=True, slots=True)
class Red:
    """Rate, error ratio and duration of ``count`` calls; what has no calls is unknown, not zero."""

    count: int
    rate_per_s: float
    error_ratio: float
    p50_ms: float
    p95_ms: float


def calls_to(
    case: Case,
    callee: str,
    caller: str | None = None,
    *,
    through: tuple[str, str] | None = None,
    baseline: bool = False,
) -> pd.DataFrame:
    """Return the calls that ``callee`` received, by start: start_ns, duration_ns, is_error.

    ``caller`` restricts them to one edge, ``through`` to traces that hold a call of this caller and callee. The
    duration is the server's, of an edge or where there is none the client's.
    """
    calls = (case.baseline_links if baseline else case.links).calls
    chosen = _of_edge(calls, callee, caller)
    if through is not None:
        passing = calls["trace_id"].filter(_of_edge(calls, through[1], through[0]))
        chosen = pc.and_(chosen, pc.is_in(calls["trace_id"], passing.unique()))
    calls = calls.filter(chosen)
    server, client = calls["server_duration_ns"], calls["client_duration_ns"]
    failed = pc.or_kleene(calls["server_error"], calls["client_error"])
    table = pa.table(
        {
            "start_ns": calls["start_ns"],
            "duration_ns": pc.coalesce(server, client) if caller is None else pc.coalesce(client, server),
            "is_error": pc.fill_null(failed, False),
        }
    )
    return table.sort_by("start_ns").to_pandas()


def _of_edge(calls: pa.Table, callee: str, caller: str | None) -> pa.ChunkedArray:
    chosen = pc.equal(calls["callee"], callee)
    return chosen if caller is None else pc.and_(chosen, pc.equal(calls["caller"], caller))


def red(calls: pd.DataFrame, start_ns: int, end_ns: int) -> Red | None:
    """Return the RED figures of the calls that start in ``[start_ns, end_ns)``; None without any."""
    inside = calls[(calls.start_ns >= start_ns) & (calls.start_ns < end_ns)]
    if inside.empty:
        return None
    p50, p95 = np.quantile(inside.duration_ns / 1e6, [0.5, 0.95])
    seconds = (end_ns - start_ns) / 1e9
    return Red(len(inside), len(inside) / seconds, float(inside.is_error.mean()), float(p50), float(p95))


def bounds(case: Case) -> tuple[int, int] | None:
    """Return the first and just after the last time in the incident's spans, else in its points; None if neither."""
    for signal, column in (("spans", "start_ns"), ("points", "time_ns")):
        times = case.telemetry.table(signal)[column]
        if len(times):
            found = pc.min_max(times).as_py()
            return int(found["min"]), int(found["max"]) + 1
    return None


def sides(
    case: Case, callee: str, onset_ns: int, caller: str | None = None, through: tuple[str, str] | None = None
) -> tuple[Red | None, Red | None]:
    """Return the figures of calls (`calls_to`) before and since the onset.

    What precedes the onset is compared; where nothing does, the baseline recording.
    """
    window = bounds(case)
    if window is None:
        return None, None
    calls = calls_to(case, callee, caller, through=through)
    since = red(calls, max(onset_ns, window[0]), window[1]) if onset_ns < window[1] else None
    before = red(calls, window[0], onset_ns) if window[0] < onset_ns else None
    if before is None:
        quiet = calls_to(case, callee, caller, through=through, baseline=True)
        if len(quiet):
            before = red(quiet, int(quiet.start_ns.min()), int(quiet.start_ns.max()) + 1)
    return before, since


def is_worse(before: Red | None, since: Red | None) -> bool:
    """Whether calls fail more or take longer since the onset, or are no longer made."""
    if before is None or since is None:
        return since is None and before is not None
    slower = max(since.p95_ms / max(before.p95_ms, 1e-6), since.p50_ms / max(before.p50_ms, 1e-6))
    return since.error_ratio - before.error_ratio > _FAILS_MORE or slower >= _SLOWER


def change(case: Case, callee: str, onset_ns: int, caller: str | None = None) -> str | None:
    """Return in words how the calls to ``callee`` changed at the onset; None where no call is known on either side."""
    return told(*sides(case, callee, onset_ns, caller))


def told(before: Red | None, since: Red | None) -> str | None:
    """Return in words what differs between two sides, None without either."""
    if before is None and since is None:
        return None
    if since is None:
        return "no calls since the onset"
    if before is None:
        return f"p95 {duration(since.p95_ms)}, {since.error_ratio:.1%} errors; no calls before to compare with"
    parts = []
    if abs(since.error_ratio - before.error_ratio) > _FAILS_MORE:
        parts.append(f"errors {before.error_ratio:.1%} → {since.error_ratio:.1%}")
    if not 1 / _SLOWER < since.p95_ms / max(before.p95_ms, 1e-6) < _SLOWER:
        parts.append(f"p95 {duration(before.p95_ms)} → {duration(since.p95_ms)}")
    elif not 1 / _SLOWER < since.p50_ms / max(before.p50_ms, 1e-6) < _SLOWER:
        parts.append(f"p50 {duration(before.p50_ms)} → {duration(since.p50_ms)}")
    # Of few calls the rate says little: its error is the root of their number.
    if min(since.count, before.count) >= _RATE_CALLS and not 0.67 < since.rate_per_s / before.rate_per_s < 1.5:
        parts.append(f"{before.rate_per_s:.3g} → {since.rate_per_s:.3g} calls/s")
    return ", ".join(parts) or f"rate, errors and duration as before (p95 {duration(since.p95_ms)})"


def duration(milliseconds: float) -> str:
    """Return a duration with its unit, three digits.

    >>> duration(12.34), duration(0.0123), duration(83_000)
    ('12.3 ms', '12.3 µs', '83 s')
    """
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.3g} s"
    return f"{milliseconds:.3g} ms" if milliseconds >= 1 or milliseconds == 0 else f"{milliseconds * 1000:.3g} µs"


def panels(case: Case, callee: str, onset_ns: int, caller: str | None = None) -> list[Panel]:
    """Return rate, error ratio and duration of the calls to ``callee`` (`calls_to`) over the incident's window."""
    from ..figures import Panel

    window, calls = bounds(case), calls_to(case, callee, caller)
    if window is None or calls.empty:
        return []
    seconds = (window[1] - window[0]) / 1e9
    # As fine as the page can show, as coarse as the quantiles of few calls need.
    wanted = min(_STEPS_WANTED, max(len(calls) / _CALLS_A_STEP, 4.0))
    step_s = next((s for s in _STEPS_S if seconds / s <= wanted), _STEPS_S[-1])
    step_ns = step_s * 10**9
    slot = (calls.start_ns - window[0]) // step_ns
    # The last step is cut by the window's end: its rate would look like a fall.
    steps = pd.RangeIndex(max(1, (window[1] - window[0]) // step_ns))
    grouped = calls.assign(ms=calls.duration_ns / 1e6).groupby(slot)
    table = pd.DataFrame(
        {
            "rate": (grouped.size() / step_s).reindex(steps, fill_value=0.0),
            "errors": grouped.is_error.mean().reindex(steps),
            "p95": grouped.ms.quantile(0.95).reindex(steps),
            "p50": grouped.ms.quantile(0.5).reindex(steps),
        }
    )
    table.index = pd.to_datetime(window[0] + steps * step_ns, unit="ns", utc=True)
    return [
        Panel("calls per second", table[["rate"]], _band(table["rate"], onset_ns)),
        Panel("share of calls with errors", table[["errors"]], _band(table["errors"], onset_ns), percent=True),
        Panel("duration, ms", table[["p95", "p50"]], _band(table["p95"], onset_ns)),
    ]


def moved_metrics(case: Case, service: str, onset_ns: int) -> list[Panel]:
    """Return the metrics of ``service`` that moved most at the onset, at most four, each beyond 3 times its spread."""
    from ..figures import Panel

    metrics, window = case.metrics, bounds(case)
    found = []
    for row, before, _ in _moved(case, service, onset_ns):
        series = metrics.series.iloc[row]
        near = metrics.time_ns >= min(window[0] if window else 0, onset_ns - _METRIC_STEPS * metrics.step_ns)
        near &= metrics.time_ns < (window[1] if window else 0)
        index = pd.to_datetime(metrics.time_ns[near], unit="ns", utc=True)
        line = pd.DataFrame({"value": metrics.values[row][near]}, index=index)
        title = f"{series['name']} ({series.pod})" if isinstance(series.pod, str) else str(series["name"])
        found.append(Panel(title, line, _quantiles(before)))
    return found


def metric_change(case: Case, service: str, onset_ns: int) -> str | None:
    """Return in words how the metric of ``service`` that moved most did; None where none moved."""
    for row, before, since in _moved(case, service, onset_ns)[:1]:
        name = case.metrics.series.name.iloc[row]
        return f"{name} {np.nanmedian(before):.3g} → {np.nanmedian(since):.3g}"
    return None


def _moved(case: Case, service: str, onset_ns: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return (row, values before, values since) of the metrics that moved most; the baseline may lie at any time."""
    metrics, window = case.metrics, bounds(case)
    if window is None or not len(metrics.time_ns):
        return []
    is_since = (metrics.time_ns >= max(onset_ns, window[0])) & (metrics.time_ns < window[1])
    is_before = (metrics.time_ns < onset_ns) | (metrics.time_ns >= window[1])
    # How Prometheus fared when it scraped is no measure of who was scraped.
    own = (metrics.series.service == service) & ~metrics.series.name.str.startswith("scrape_")
    rows = np.flatnonzero(own.to_numpy())
    values = [(int(r), metrics.values[r][is_before], metrics.values[r][is_since]) for r in rows]
    shifted = sorted(((_spreads(v[1], v[2]), v) for v in values), key=lambda pair: (-pair[0], pair[1][0]))
    return [v for shift, v in shifted[:_MOVED_METRICS] if shift >= _MOVED_SPREADS]


def _band(line: pd.Series, onset_ns: int) -> tuple[float, float] | None:
    return _quantiles(line[line.index < pd.Timestamp(onset_ns, unit="ns", tz="UTC")].to_numpy(dtype=float))


def _spreads(before: np.ndarray, since: np.ndarray) -> float:
    """Return how far the median moved in interquartile ranges (at least 1 % of the median); 0 where unknown."""
    before, since = before[np.isfinite(before)], since[np.isfinite(since)]
    if len(before) < 3 or not len(since):
        return 0.0
    low, centre, high = np.quantile(before, [0.25, 0.5, 0.75])
    moved, scale = abs(float(np.median(since)) - centre), max(high - low, 0.01 * abs(centre))
    # A constant zero that moves has no spread to measure by, yet nothing moved more.
    return float(moved / scale) if scale > 0 else (math.inf if moved else 0.0)


def _quantiles(values: np.ndarray) -> tuple[float, float] | None:
    known = values[np.isfinite(values)]
    if len(known) < 5:
        return None
    low, high = np.quantile(known, [0.05, 0.95])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class ExemplaryTrace:
    """One trace of many, laid out (`hypocenter.graph.one_trace.laid_out`), and its whole duration."""

    trace_id: str
    spans: pd.DataFrame
    duration_ms: float


def exemplary_traces(case: Case, suspect: str, onset_ns: int) -> tuple[ExemplaryTrace | None, ExemplaryTrace | None]:
    """Return (bad, good): a trace through ``suspect`` since the onset and one of the same root operation before.

    Bad is one with an error there, else the one at the 90th percentile of the time spent there; good is the one of
    median duration before the onset, else in the baseline. None where there is none.
    """
    visits = case.links.visits
    there = pc.or_kleene(pc.equal(visits["service"], suspect), pc.equal(visits["peer"], suspect))
    since = pc.greater_equal(visits["start_ns"], onset_ns)
    through = visits.filter(pc.and_kleene(there, since)).select(["trace_id", "exclusive_ns", "is_error"]).to_pandas()
    if through.empty:
        return None, None
    failed = through[through.is_error]
    chosen = failed if len(failed) else through
    time_there = chosen.groupby("trace_id").exclusive_ns.sum().sort_values(kind="stable")
    bad = _trace(case.telemetry, str(time_there.index[int(0.9 * (len(time_there) - 1))]))
    before = visits.filter(pc.less(visits["start_ns"], onset_ns))
    for source, batch in ((before, case.telemetry), (case.baseline_links.visits, case.baseline)):
        same = _same_root(source, bad)
        if len(same):
            return bad, _trace(batch, str(same.trace_id.iloc[(len(same) - 1) // 2]))
    return bad, None


def _same_root(visits: pa.Table, trace: ExemplaryTrace) -> pd.DataFrame:
    """Return the traces that begin as ``trace`` does, by duration."""
    first = trace.spans.iloc[0]
    named = pc.and_(pc.equal(visits["service"], first.service), pc.equal(visits["operation"], first.operation))
    roots = visits.filter(pc.and_kleene(named, pc.invert(visits["has_parent"])))
    return roots.select(["trace_id", "duration_ns"]).to_pandas().sort_values(["duration_ns", "trace_id"])


def _trace(batch: Batch, trace_id: str) -> ExemplaryTrace:
    spans = batch.table("spans")
    laid = laid_out(spans.filter(pc.equal(spans["trace_id"], trace_id)))
    end = (laid.start_ns + laid.duration_ns).max()
    return ExemplaryTrace(trace_id, laid, float(end - laid.start_ns.min()) / 1e6)
