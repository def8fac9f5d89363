"""The product's own ranker: evidence of several kinds in nats, added, and turned into probabilities."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa

from hypocenter.errors import NotApplicable

from .candidates import Candidates
from .case import Case
from .evidence.answers import LastAnswers
from .evidence.availability import Availability
from .evidence.edges import MetricEdges
from .evidence.errors import ErrorOrigin
from .evidence.excess import Excess
from .evidence.failed_calls import Said
from .evidence.finding import Evidence as Kind
from .evidence.kubernetes import Kubernetes
from .evidence.latency import Latency
from .evidence.log_lines import LogLines
from .evidence.log_volume import LogVolume
from .evidence.saturation import Saturation
from .evidence.series import Series, read_series
from .evidence.signals import Signals
from .evidence.silence import Silence
from .evidence.structure import Structure
from .evidence.traffic import Traffic
from .evidence.visits import MANY_ORPHANS, STEP_NS, Clock, Visits, read_visits
from .fusion import Posterior, fuse
from .onset import BASELINE_NS, EARLIEST_NS, INCIDENT_NS, LATEST_NS, SECOND_NS, Split, grid
from .ranking import Outcome, Ranking

# What a quiet window reaches by chance; below it there is no clear origin. What is usual is known the less, the shorter
# the time before the onset, and a quiet recording makes up for it.
_NOTHING_NATS = 1.5
_KNOWN_NS = 100 * SECOND_NS
_WEIGHTS = {
    "latency": 1.0,
    "errors": 1.0,
    "last answers": 1.0,
    "silence": 1.0,
    "traffic": 1.0,
    "structure": 1.0,
    "log lines": 1.0,
    "log volume": 0.5,
    "saturation": 1.0,
    "signals": 1.0,
    "edge metrics": 1.0,
    "excess": 1.0,
    "availability": 1.0,
    "kubernetes": 1.0,
}
_METRIC_KINDS = ("saturation", "signals", "edge metrics", "excess", "availability")


class Hypocenter:
    """Weighs evidence of traces, logs and metrics at every possible onset and sums the onset out."""

    name: ClassVar[str] = "hypocenter"
    requires: ClassVar[frozenset[str]] = frozenset()
    source: ClassVar[str] = "this project: docs/architecture.md"

    def rank(self, case: Case) -> Ranking:
        """Return the ranking of services; needs spans or metrics around the alert, else `NotApplicable` is raised."""
        services = sorted(_services(case))
        if not services:
            raise NotApplicable("the telemetry names no service")
        visits = read_visits(case.baseline_links.visits, case.links.visits, services, case.alert_ns)
        series = read_series(_tables(case, baseline=True), _tables(case), services, case.alert_ns)
        splits = splits_of(case, visits, series)
        series = None if series is None else series.screened(splits)
        kinds, missing = gather(case, services, visits, series, splits)
        if not kinds:
            raise NotApplicable("; ".join(missing) or "no telemetry around the alert")
        quiet = any(case.baseline.table(signal).num_rows for signal in ("spans", "points"))
        unsure = np.zeros(len(splits)) if quiet else _unsure(splits)
        posterior = fuse(kinds, _WEIGHTS, splits, _NOTHING_NATS, unsure, _looked_at(services, visits, series))
        return _ranking(self.name, case, services, kinds, missing, posterior)


def gather(
    case: Case, services: list[str], visits: Visits | None, series: Series | None, splits: list[Split]
) -> tuple[list[Kind], list[str]]:
    """Return the kinds of evidence that can look at this case, and why the others cannot."""
    calls = _calls(case, services)
    quiet_logs, logs = case.baseline.table("logs"), case.telemetry.table("logs")
    found: list[Kind] = []
    missing: list[str] = []
    traced = np.zeros(len(services), bool)
    if visits is None:
        missing += [
            f"{k}: no spans around the alert"
            for k in ("latency", "errors", "last answers", "silence", "traffic", "structure", "log lines")
        ]
    else:
        seen = [
            np.bincount(visits.service[part & (visits.service >= 0)], minlength=len(services))
            for part in _sides(visits)
        ]
        # Where spans are lost, metrics may see what is left of a thinly called service better.
        traced = (seen[0] > 0) & (seen[1] > 0) & (visits.orphans < MANY_ORPHANS)
        said = Said.of(visits, case.telemetry.table("spans"))
        written = LogLines(visits, quiet_logs, logs, said)
        structure = Structure(visits)
        if written.not_checked is None:
            # Both see the path taken through the code; log lines see it finer.
            structure.not_checked = "log lines tell the same, finer"
        found += [
            Latency(visits),
            ErrorOrigin(visits, said),
            LastAnswers(visits, said),
            Silence(visits, said),
            Traffic(visits),
            structure,
            written,
        ]
    clock = visits.clock if visits is not None else _clock(case)
    found.append(LogVolume(clock, quiet_logs, logs, services))
    if series is None:
        missing += [f"{k}: no metrics around the alert" for k in _METRIC_KINDS]
    else:
        symptom = services.index(case.symptom.entity) if case.symptom.entity in services else None
        excess = Excess(series, services, calls, traced, symptom, case.symptom.signal, splits)
        signals = Signals(series, services, calls, traced)
        if excess.not_checked is None:
            signals.not_checked = "excess weighs the same by requests"
        found += [Saturation(series, services), signals, MetricEdges(series, services, traced), excess]
        found.append(Availability(series, services))
    cluster = Kubernetes(case, services)
    found.append(cluster)
    missing += [f"{kind.kind}: {kind.not_checked}" for kind in found if kind.not_checked is not None] + cluster.denied
    return [kind for kind in found if kind.not_checked is None], missing


def _unsure(splits: list[Split]) -> np.ndarray:
    """Return the nats that chance reaches more at each split, the less time lies before it, shape (n_splits,)."""
    known = np.array([max(split.onset_ns - split.start_ns, 1) for split in splits])
    return np.asarray(_NOTHING_NATS * (np.maximum(1.0, _KNOWN_NS / known) - 1.0))


def _looked_at(services: list[str], visits: Visits | None, series: Series | None) -> np.ndarray:
    """Return which services have spans or metrics."""
    codes = [part.service for part in (visits, series) if part is not None]
    return np.isin(np.arange(len(services)), np.concatenate(codes)) if codes else np.zeros(len(services), bool)


def _sides(visits: Visits) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the visits that may serve as a baseline, and of the incident's."""
    quiet = np.arange(len(visits)) < visits.n_quiet
    return quiet | (visits.column > 0), ~quiet & (visits.column > 0)


def splits_of(case: Case, visits: Visits | None, series: Series | None) -> list[Split]:
    """Return the splits to try, on the finest clock that the case has."""
    if visits is not None:
        clock = visits.clock
        end = clock.start_ns + clock.n_steps * clock.step_ns
        return grid(case.alert_ns, clock.start_ns, end, quiet=visits.n_quiet > 0)
    if series is not None:
        quiet = bool(np.isfinite(series.quiet).any())
        start, end = int(series.time_ns[0]), int(series.time_ns[-1]) + series.step_ns
        return grid(case.alert_ns, start, end, step_ns=series.step_ns, quiet=quiet)
    clock = _clock(case)
    return grid(case.alert_ns, clock.start_ns, clock.start_ns + clock.n_steps * clock.step_ns)


def _clock(case: Case) -> Clock:
    """Return the clock of a case without spans: that of its logs."""
    times = case.telemetry.table("logs")["time_ns"].to_numpy()
    low, high = case.alert_ns - EARLIEST_NS - BASELINE_NS, case.alert_ns + LATEST_NS + INCIDENT_NS
    if len(times):
        low, high = max(low, int(times.min())), min(high, int(times.max()))
    return Clock(low, STEP_NS, max(int(-(-(high - low) // STEP_NS)), 1))


def _tables(case: Case, *, baseline: bool = False) -> tuple[pa.Table, pa.Table]:
    return case.baseline_measured if baseline else case.measured


def _calls(case: Case, services: list[str]) -> np.ndarray:
    """Return the call graph as a matrix, true where the row calls the column."""
    position = {s: i for i, s in enumerate(services)}
    calls = np.zeros((len(services), len(services)), bool)
    for caller, callee in case.call_graph.edges:
        if caller in position and callee in position and caller != callee:
            calls[position[caller], position[callee]] = True
    return calls


def _services(case: Case) -> set[str]:
    found = set(case.call_graph.nodes)
    for signal in ("spans", "series", "logs"):
        found |= set(case.telemetry.table(signal)["service"].unique().to_pylist())
    return {str(s) for s in found if s and s != "external"}


def _ranking(
    name: str, case: Case, services: list[str], kinds: list[Kind], missing: list[str], posterior: Posterior
) -> Ranking:
    order = sorted(range(len(services)), key=lambda i: (-posterior.score[i], services[i]))
    symptom = _entry(case, services)
    candidates = tuple(map(Candidates.of(case, services, kinds, posterior, symptom).make, order))
    outcome: Outcome = "ranked" if posterior.score.max() >= _NOTHING_NATS else "no-origin"
    split = posterior.splits[int(posterior.onset[order[0]])]
    return Ranking(
        name,
        outcome,
        candidates,
        (*missing, *case.not_read),
        tuple(k.kind for k in kinds),
        symptom=symptom,
        onset_ns=candidates[0].onset_ns,
        window_ns=(split.onset_ns, split.end_ns),
    )


def _entry(case: Case, services: list[str]) -> str | None:
    # An alert may name what telemetry does not know.
    if case.symptom.entity in services or case.symptom.entity in case.call_graph:
        return case.symptom.entity
    calls = case.links.calls.select(["caller", "callee"]).to_pandas()
    entries = calls.callee[calls.caller == "external"].value_counts()
    return str(entries.index[0]) if len(entries) else None
