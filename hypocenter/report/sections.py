"""What the page shows below the answer: figures with their words and tables, changes, and what was covered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow.compute as pc

from ..tracer.window import MINUTE_NS
from .answer import clock, name_of, split_ns, subject, symptom_of
from .drawing import Drawing
from .links import Link, links
from .spread import spread
from .traffic import bounds, duration, exemplary_traces, moved_metrics, panels

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..analysis.ranking import Candidate, Ranking
    from ..figures import Panel
    from ..graph.dependency_graph import DependencyGraph

_TRACE_SPANS = 24
_EVENTS = 40
_EDGES = 100
_LOG_LINES = 10
_BODY_LENGTH = 400
_CHANGE_NS = 30 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class Page:
    """The figures by section, and the tables that have none."""

    window: str
    map: Drawing | None
    spread: Drawing | None
    timelines: tuple[Drawing, ...]
    traces: tuple[Drawing, ...]
    logs: tuple[tuple[str, ...], ...]
    events: tuple[tuple[str, str, str, str], ...]
    more_events: int
    coverage: tuple[tuple[str, str], ...]
    links: tuple[Link, ...] = ()

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """All figures of the page."""
        return (*(d for d in (self.map, self.spread) if d is not None), *self.timelines, *self.traces)


def build(
    ranking: Ranking, case: Case, graph: DependencyGraph | None = None, templates: Mapping[str, str] | None = None
) -> Page:
    """Return the sections; what the telemetry cannot show is left out. ``templates``: `hypocenter.report.links`."""
    first = ranking.candidates[0] if ranking.candidates else None
    symptom = symptom_of(first, case)
    split = split_ns(ranking, case)
    window = bounds(case)
    events = _events(case)
    return Page(
        window="no spans or metrics" if window is None else f"{clock(window[0])} to {clock(window[1])}",
        map=None if graph is None else _map(graph, first if ranking.outcome == "ranked" else None, symptom),
        spread=spread(ranking, case),
        timelines=tuple(_timelines(case, first, symptom, split, _marks(first, case))),
        traces=()
        if first is None or ranking.outcome != "ranked"
        else tuple(_traces(case, first, split, templates or {})),
        logs=() if first is None else _logs(case, first.service, split),
        events=tuple(events[:_EVENTS]),
        more_events=max(0, len(events) - _EVENTS),
        coverage=tuple(_coverage(case, graph)),
        links=() if first is None else links(templates or {}, window, service=first.service, entity=first.entity),
    )


def _map(graph: DependencyGraph, origin: Candidate | None, symptom: str | None) -> Drawing:
    from ..figures import service_map

    edges = graph.edges
    known = set(graph.nodes["id"])
    wanted = () if origin is None else tuple(dict.fromkeys((subject(origin)[0], origin.service)))
    origins = [name for name in wanted if name in known][:1]
    figure = service_map(
        graph,
        highlight=origins,
        symptom=symptom if symptom in known else None,
        way=() if origin is None else origin.path,
    )
    # The page says the same in its caption.
    figure.update_layout(title=None, margin_t=16)
    caption = (
        "No origin stands out." if origin is None else "In bold: the way between the likely origin and where it hurts."
    )
    if origin is not None and not origins:
        caption = f"{origin.entity} is not among the nodes: no call to or from it was recorded."
    label = f"Service map with {len(known)} nodes and {len(edges)} edges; the table below lists the calls. {caption}"
    columns = ("caller", "callee", "calls", "calls/s", "errors", "client p95")
    rows = tuple(
        (
            str(e.source),
            str(e.target),
            f"{e.calls:,}",
            f"{e.rate_per_s:.3g}",
            f"{e.error_ratio:.1%}",
            "unknown" if pd.isna(e.client_p95_s) else duration(1000 * e.client_p95_s),
        )
        for e in edges.drop(columns="kind").rename(columns={"count": "calls"}).head(_EDGES).itertuples()
    )
    return Drawing("map", label, caption, figure, columns, rows)


def _marks(first: Candidate | None, case: Case) -> dict[str, int]:
    """Return what the timelines mark: onset, alert or first symptom, and the last change of the suspect before."""
    marks = {} if first is None or first.onset_ns is None else {"onset": first.onset_ns}
    marks[case.noticed.removeprefix("the ")] = case.alert_ns
    if first is not None:
        events = case.telemetry.table("events").to_pandas()
        mine = (events.service == first.service) | events.object_name.isin([first.service, first.entity])
        recent = events.time_ns.between(min(marks.values()) - _CHANGE_NS, min(marks.values()))
        changes = events[mine & recent & (events.kind != "alert")].sort_values("time_ns", kind="stable")
        if len(changes):
            marks[str(changes.kind.iloc[-1])] = int(changes.time_ns.iloc[-1])
    return marks


def _timelines(case: Case, first: Candidate | None, symptom: str | None, split: int, marks: dict[str, int]) -> Any:
    shown: list[tuple[str, str, list[Panel]]] = []
    suspect = None
    if first is not None:
        suspect, caller = subject(first)
        rows = [*panels(case, suspect, split, caller), *moved_metrics(case, first.service, split)]
        shown.append((f"The suspect: {name_of(first)}", suspect, rows))
    if symptom is not None and symptom != suspect:
        rows = panels(case, symptom, split) or moved_metrics(case, symptom, split)
        shown.append((f"Where it hurts: {symptom}", symptom, rows))
    for number, (title, who, rows) in enumerate(shown):
        if rows:
            yield _timeline(f"timeline-{number}", title, who, rows, split, marks)


def _timeline(name: str, title: str, who: str, rows: list[Panel], split: int, marks: dict[str, int]) -> Drawing:
    from ..figures import timeline

    at = pd.Timestamp(split, unit="ns", tz="UTC")
    table = []
    for panel in rows:
        for line in panel.frame.columns:
            values = panel.frame[line]
            before, since = values[values.index < at], values[values.index >= at]
            what = panel.title if len(panel.frame.columns) == 1 else f"{panel.title}, {line}"
            # Errors come in few of the steps: their median would be zero.
            middle = "mean" if panel.percent else "median"
            figures = (before.agg(middle), since.agg(middle), since.max())
            table.append((f"{what} ({middle})", *(_figure_text(f, panel.percent) for f in figures)))
    label = f"Timelines of {who}: {', '.join(p.title for p in rows)}; the table below holds the figures."
    columns = ("", "before", "since", "highest since")
    return Drawing(name, label, title, timeline(rows, marks), columns, tuple(table))


def _figure_text(value: float, percent: bool) -> str:
    if pd.isna(value):
        return "unknown"
    return f"{value:.1%}" if percent else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _traces(case: Case, first: Candidate, split: int, templates: Mapping[str, str]) -> Any:
    from ..figures import waterfall
    from ..figures.waterfall import worth

    suspect, caller = subject(first)
    bad, good = exemplary_traces(case, suspect, split)
    known = [t for t in (bad, good) if t is not None]
    reach = max((t.duration_ms for t in known), default=None)
    for name, trace, what in (("bad", bad, "A bad trace since the onset"), ("good", good, "A usual trace before")):
        if trace is not None:
            caption = f"{what}: {duration(trace.duration_ms)}, trace {trace.trace_id}"
            shown = worth(trace.spans, _TRACE_SPANS)
            if len(shown) < len(trace.spans):
                caption += f", {len(shown)} of {len(trace.spans)} spans: failed, decisive and long ones"
            own = suspect if caller is None else None
            figure = waterfall(shown, own, reach, calls=_calls_over(case, trace.trace_id, suspect, caller))
            texts = {"service": first.service, "entity": first.entity}
            there = links(templates, bounds(case), trace.trace_id, **texts)
            yield Drawing(f"trace-{name}", f"{caption}. Waterfall.", caption, figure, *_spans_table(shown), there)


def _calls_over(case: Case, trace_id: str, callee: str, caller: str | None) -> list[str]:
    """Return the client spans of a trace that call a suspect without spans, or go over an edge."""
    calls = case.links.calls
    calls = calls.filter(pc.and_(pc.equal(calls["trace_id"], trace_id), pc.equal(calls["callee"], callee)))
    if caller is not None:
        calls = calls.filter(pc.equal(calls["caller"], caller))
    else:
        calls = calls.filter(pc.is_null(calls["server_span_id"]))
    found: list[str] = calls["client_span_id"].drop_null().to_pylist()
    return found


def _spans_table(spans: pd.DataFrame) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    start = spans.start_ns.min()
    rows = tuple(
        (
            str(s.service),
            str(s.operation),
            duration((s.start_ns - start) / 1e6),
            duration(s.duration_ns / 1e6),
            "error" if s.is_error else "",
        )
        for s in spans.sort_values("start_ns").itertuples()
    )
    return ("service", "operation", "starts after", "takes", "status"), rows


def _logs(case: Case, service: str, split: int) -> tuple[tuple[str, ...], ...]:
    """Return the error messages of ``service`` that became more frequent: since, before, first seen, an example."""
    from ..tracer.log_templates import tells_failure, templates

    logs = case.telemetry.table("logs")
    logs = logs.filter(pc.equal(logs["service"], service))
    logs = logs.filter(tells_failure(logs))
    if not logs.num_rows:
        return ()
    frame = logs.select(["time_ns", "body"]).to_pandas().assign(text=templates(logs["body"]).to_pandas())
    frame["is_since"] = frame.time_ns >= split
    frame["since_ns"] = frame.time_ns.where(frame.is_since)
    counted = frame.groupby("text").agg(
        since=("is_since", "sum"), all=("is_since", "size"), first_ns=("since_ns", "min"), body=("body", "first")
    )
    counted = counted.assign(before=counted["all"] - counted.since).query("since > before")
    counted = counted.sort_values(["since", "body"], ascending=[False, True], kind="stable").head(_LOG_LINES)
    return tuple(
        (f"{row.since:,}", f"{row.before:,}", clock(int(row.first_ns)), str(row.body)[:_BODY_LENGTH])
        for row in counted.itertuples()
    )


def _events(case: Case) -> list[tuple[str, str, str, str]]:
    """Return time, kind, object and text of what happened, the nearest to the alert first."""
    events = case.telemetry.table("events").to_pandas()
    events = events.assign(distance=(events.time_ns - case.alert_ns).abs()).sort_values("distance", kind="stable")
    return [
        (
            clock(int(e.time_ns)),
            str(e.kind),
            " ".join(str(part) for part in (e.object_kind, e.object_name or e.service) if isinstance(part, str)),
            " ".join(str(part) for part in (e.reason, e.message) if isinstance(part, str)),
        )
        for e in events.itertuples()
    ]


def _coverage(case: Case, graph: DependencyGraph | None) -> list[tuple[str, str]]:
    """Return what was read and linked, and what was not under its reason."""
    telemetry, links = case.telemetry, case.links
    rows = [(f"{signal} around the incident", f"{telemetry.table(signal).num_rows:,}") for signal in _SIGNALS]
    rows.append(("spans of the baseline recording", f"{case.baseline.table('spans').num_rows:,}"))
    rows.append(("calls linked", f"{links.calls.num_rows:,}"))
    reasons = links.unlinked["reason"].to_pandas().value_counts()
    rows += [(f"spans that are no call: {reason}", f"{count:,}") for reason, count in sorted(reasons.items())]
    if graph is not None and graph.coverage.explained_ratio is not None:
        rows.append(("share of spans that the map explains", f"{graph.coverage.explained_ratio:.1%}"))
    for name, counts in (("dropped", telemetry.tally.dropped), ("repaired", telemetry.tally.repaired)):
        rows += [(f"{name} while reading: {reason}", f"{count:,}") for reason, count in sorted(counts.items())]
    return rows


_SIGNALS = ("spans", "points", "logs", "events", "objects")
