"""The product's own ranker: evidence of several kinds in nats, added, and turned into probabilities."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd

from hypocenter.errors import NotApplicable

from .case import Case
from .evidence import latency, log_lines, resources, structure
from .evidence.finding import Finding, Windows
from .ranking import Candidate, Evidence, Outcome, Ranking

_SETTLE_NS = 5 * 10**9  # traces cut at a recording's end look like vanished calls
# What a window of thin evidence can reach by chance; below it there is no clear origin.
_NO_ORIGIN_NATS = 1.0
_WEIGHTS = {"latency": 1.0, "log lines": 1.0, "structure": 1.0, "saturation": 3.0, "metric anomaly": 1.0}


class Hypocenter:
    """Adds latency, structure, log-line and saturation evidence; falls back to metrics and topology without traces."""

    name: ClassVar[str] = "hypocenter"
    requires: ClassVar[frozenset[str]] = frozenset()
    source: ClassVar[str] = "this project: docs/architecture.md"

    def rank(self, case: Case) -> Ranking:
        """Return the ranking of services; needs spans or metrics, else `NotApplicable` is raised."""
        has_spans = case.telemetry.table("spans").num_rows > 0
        if not has_spans and not case.telemetry.table("points").num_rows:
            raise NotApplicable("neither spans nor metrics around the alert")
        findings = self._from_spans(case) if has_spans else [Finding("latency", not_checked="no spans")]
        findings.append(resources.weigh(case))
        looked = any(f.kind != "saturation" and f.not_checked is None for f in findings)
        if not looked:
            findings.append(resources.anomaly(case))
        return _fuse(self.name, findings, case)

    def _from_spans(self, case: Case) -> list[Finding]:
        windows, logs = _windows(case)
        written = log_lines.weigh(windows, *logs)
        shape = structure.weigh(windows)
        # Both see the path taken through the code; log lines see it finer, so the shape counts only without them.
        if written.not_checked is None:
            shape = Finding("structure", not_checked="log lines tell the same, finer")
        return [latency.weigh(windows), written, shape]


def _windows(case: Case) -> tuple[Windows, tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    visits = case.links.visits.to_pandas()
    quiet = case.baseline_links.visits.to_pandas()
    for frame in (visits, quiet):
        frame["parent_operation"] = frame.parent_operation.fillna("")
    last = int((visits.start_ns + visits.duration_ns).max()) - _SETTLE_NS
    before = visits[visits.start_ns < case.alert_ns]
    after = visits[(visits.start_ns >= case.alert_ns) & (visits.start_ns < last)]
    columns = ["time_ns", "trace_id", "span_id", "body"]
    logs = case.telemetry.table("logs").select(columns).to_pandas()
    quiet_logs = case.baseline.table("logs").select(columns).to_pandas()
    # Only lines that name their span can be compared per visit.
    logs, quiet_logs = logs[logs.span_id.notna()], quiet_logs[quiet_logs.span_id.notna()]
    split = logs.time_ns < case.alert_ns
    return Windows(quiet, before, after), (quiet_logs, logs[split], logs[~split])


def _fuse(name: str, findings: list[Finding], case: Case) -> Ranking:
    services = sorted(_services(case) | {s for f in findings for s in f.score})
    if not services:
        raise NotApplicable("the telemetry names no service")
    total = np.array([sum(_WEIGHTS[f.kind] * f.score.get(s, 0.0) for f in findings) for s in services])
    probability = np.exp(total - total.max())
    probability /= probability.sum()
    order = sorted(range(len(services)), key=lambda i: (-total[i], services[i]))
    symptom = _entry(case)
    candidates = tuple(_candidate(services[i], total[i], probability[i], findings, case, symptom) for i in order)
    checked = tuple(f.kind for f in findings if f.not_checked is None)
    not_checked = tuple(f"{f.kind}: {f.not_checked}" for f in findings if f.not_checked is not None)
    outcome: Outcome = "ranked" if total.max() >= _NO_ORIGIN_NATS else "no-origin"
    return Ranking(name, outcome, candidates, not_checked, checked)


def _candidate(
    service: str, score: float, probability: float, findings: list[Finding], case: Case, symptom: str | None
) -> Candidate:
    found = [f for f in findings if f.score.get(service, 0.0) > 0]
    evidence = sorted(
        (Evidence(f.kind, f.score[service], f.text.get(service, "")) for f in found), key=lambda e: -e.score
    )
    against = tuple(
        Evidence(f.kind, 0.0, "checked, nothing") for f in findings if f.not_checked is None and service not in f.score
    )
    best = max(found, key=lambda f: f.score[service], default=None)
    entity, kind = best.entity.get(service, (service, "service")) if best else (service, "service")
    path = _path(case, service, symptom)
    return Candidate(entity, kind, service, float(probability), None, float(score), tuple(evidence), against, path)


def _services(case: Case) -> set[str]:
    found = set(case.call_graph.nodes)
    for signal in ("spans", "series"):
        found |= set(case.telemetry.table(signal)["service"].unique().to_pylist())
    return {str(s) for s in found if s and s != "external"}


def _entry(case: Case) -> str | None:
    if case.symptom.entity:
        return case.symptom.entity
    calls = case.links.calls.select(["caller", "callee"]).to_pandas()
    entries = calls.callee[calls.caller == "external"].value_counts()
    return str(entries.index[0]) if len(entries) else None


def _path(case: Case, origin: str, symptom: str | None) -> tuple[str, ...]:
    """Return the shortest chain from the origin back along the calls to the symptom; empty if there is none."""
    import networkx as nx

    graph = case.call_graph
    if symptom is None or origin not in graph or symptom not in graph:
        return ()
    try:
        return tuple(reversed(nx.shortest_path(graph, symptom, origin)))
    except nx.NetworkXNoPath:
        return ()
