"""Kubernetes as evidence: states and changes of objects that began at the onset, for the services they bear on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow.compute as pc

from ...graph.kubernetes import History
from ...graph.kubernetes_services import ServiceJoin, Speakers
from ...tracer.kubernetes.state_metrics import to_objects
from ...tracer.kubernetes.versions import order, within
from ...tracer.window import Window
from ..onset import BASELINE_NS, EARLIEST_NS, INCIDENT_NS, LATEST_NS, SECOND_NS, Split
from .finding import Told
from .kubernetes_causes import Finding, causes
from .kubernetes_measured import measured

if TYPE_CHECKING:
    from ..case import Case

# An effect is measured some time after its cause, and no clock is perfect.
_BEFORE_NS, _AFTER_NS = 60 * SECOND_NS, 10 * SECOND_NS
_FADES_BEFORE_NS, _FADES_AFTER_NS = 300 * SECOND_NS, 60 * SECOND_NS
# A change explains something only where something hurts.
_CHANGE_ALONE_NATS = 1.0


def history_of(case: Case) -> History:
    """Return the history of the cluster around an incident; empty without objects and events.

    Without objects those are taken that the series of kube-state-metrics tell of.
    """
    objects, events = case.telemetry.table("objects"), case.telemetry.table("events")
    if not objects.num_rows:
        objects = to_objects(case.telemetry.table("series"), case.telemetry.table("points"))
    low, high = case.alert_ns - EARLIEST_NS - BASELINE_NS, case.alert_ns + LATEST_NS + INCIDENT_NS
    window = Window(max(low, 0), max(high, 1))
    return History.of(within(order(objects, events), window), window, events)


def findings(case: Case, problems: list[str] | None = None) -> list[Finding]:
    """Return what speaks against objects of the cluster around an incident, the strongest first.

    What began before the window is context (`Finding.is_context`). ``problems`` takes a line for each object that
    could not be read.
    """
    return _findings(case, history_of(case), problems)


def _findings(case: Case, history: History, problems: list[str] | None) -> list[Finding]:
    if not history:
        return []
    speakers = Speakers.of(case.baseline, case.telemetry, services=case.call_graph.nodes)
    calls = [(str(a), str(b)) for a, b in case.call_graph.edges]
    found = causes(history, speakers, calls, _heard_ns(case), problems)
    series, points = case.telemetry.table("series"), case.telemetry.table("points")
    found += measured(history, ServiceJoin(history.whole, speakers), series, points)
    return sorted(found, key=lambda f: (f.is_context, -f.nats, f.onset_ns, f.entity, f.rule))


def _heard_ns(case: Case) -> int:
    """Return the time of the last telemetry, 0 without any."""
    ends = [
        pc.max(case.telemetry.table(signal)[column]).as_py() or 0
        for signal, column in (("spans", "start_ns"), ("points", "time_ns"), ("logs", "time_ns"))
    ]
    return max(ends)


class Kubernetes:
    """Services whose pods, nodes, volumes, routes or configuration changed or failed at the onset."""

    kind: ClassVar[str] = "kubernetes"

    def __init__(self, case: Case, services: list[str]) -> None:
        history = history_of(case)
        self.not_checked = None if history else "no objects or events of a cluster"
        self.problems: list[str] = []
        found = [f for f in _findings(case, history, self.problems) if not f.is_context]
        # Where kinds may not be read, their causes cannot be excluded.
        self.denied = [f"kubernetes {kind}: {why}" for kind, why in sorted(history.denied.items())]
        self._services = services
        self._found: list[list[Finding]] = [[f for f in found if name in f.services] for name in services]
        self._hurts = case.symptom.entity is not None

    def score(self, split: Split) -> np.ndarray:
        """Return nats by service: those of its strongest finding, faded by its distance from the split."""
        return np.array([max((self._nats(f, split) for f in found), default=0.0) for found in self._found])

    def tell(self, split: Split, service: int) -> Told:
        """Name the object, what became of it and when, and the command that shows it."""
        best = max(self._found[service], key=lambda f: (self._nats(f, split), -f.onset_ns, f.entity))
        return Told(best.text, best.entity, best.entity_kind, best.onset_ns, best.command)

    def _nats(self, found: Finding, split: Split) -> float:
        # What was over when it began to hurt is not why.
        if found.onset_ns >= split.end_ns or (found.until_ns or split.end_ns) < split.onset_ns - _AFTER_NS:
            return 0.0
        nats = found.nats
        if found.entity_kind == "change" and not self._hurts:
            nats = min(nats, _CHANGE_ALONE_NATS)
        lead = split.onset_ns - found.onset_ns
        late = max(lead - _BEFORE_NS, 0) / _FADES_BEFORE_NS
        late += max(-lead - _AFTER_NS - found.notice_ns, 0) / _FADES_AFTER_NS
        return float(nats * np.exp(-late))
