"""From a posterior to candidates: entity, kind and granularity from the evidence that points at them, in words."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc

from .bad_visits import BadVisits, bad_visits
from .case import Case
from .evidence.finding import Evidence as Kind
from .evidence.finding import Told
from .fusion import Posterior
from .propagation import Propagation
from .propagation import kinds as virtual_kinds
from .ranking import Candidate, Evidence

# A state or change of an object is a cause; what telemetry shows is its effect. So is a resource that is used up.
_CAUSES, _CAUSE_NATS = ("kubernetes", "saturation"), 1.0
_LOOK_CLOSER = 0.1  # from this probability on, its visits are told apart
_AGAINST = 0.05  # nats; below it a kind of evidence found nothing about a candidate


@dataclass(frozen=True)
class Candidates:
    """What all candidates of one case are made of."""

    case: Case
    services: list[str]
    kinds: list[Kind]
    posterior: Posterior
    ways: Propagation
    virtual: dict[str, str]
    only_pod: dict[str, str]

    @classmethod
    def of(
        cls, case: Case, services: list[str], kinds: list[Kind], posterior: Posterior, symptom: str | None
    ) -> Candidates:
        """Gather what the candidates' words need."""
        # The likeliest origin's onset: when an alert comes, much of what got worse has been so for a while.
        onset = (
            posterior.splits[int(posterior.onset[int(posterior.probability.argmax())])].onset_ns if services else None
        )
        ways = Propagation(case, symptom, onset)
        return cls(case, services, kinds, posterior, ways, virtual_kinds(case), _only_pods(case))

    def make(self, i: int) -> Candidate:
        """Return the candidate of the service at index ``i``."""
        posterior, service = self.posterior, self.services[i]
        at = int(posterior.onset[i])
        split = posterior.splits[at]
        nats = {k.kind: float(posterior.parts[k.kind][at, i]) for k in self.kinds}
        told = sorted(
            ((nats[k.kind], k.kind, k.tell(split, i)) for k in self.kinds if nats[k.kind] > _AGAINST),
            key=lambda t: -t[0],
        )
        found = tuple(
            Evidence(kind, value, what.text, what.onset_ns or split.onset_ns, what.command)
            for value, kind, what in told
        )
        against = tuple(Evidence(k.kind, 0.0, "checked, nothing") for k in self.kinds if nats[k.kind] <= _AGAINST)
        causes = {kind: what for value, kind, what in told if kind in _CAUSES and value >= _CAUSE_NATS}
        strongest = told[0][2] if told else None
        first = causes.get("kubernetes", strongest)
        entity, entity_kind = (first.entity, first.entity_kind) if first else (service, "service")
        probability = float(posterior.probability[i])
        closer = bad_visits(self.case, service, split) if told and probability >= _LOOK_CLOSER else None
        if entity_kind == "service":
            entity, entity_kind = _named_by(closer) or (entity, self.virtual.get(entity, entity_kind))
        shown = causes.get("saturation", first)
        return Candidate(
            entity,
            entity_kind,
            service,
            probability,
            (first.onset_ns or split.onset_ns) if first else None,
            float(posterior.score[i]),
            found,
            against,
            self.ways.path(service),
            pod=self._pod(service, [what for _, _, what in told], closer),
            operation=_operation(strongest, closer),
            indicator=shown.indicator if shown else None,
            where=closer.text if closer else None,
        )

    def _pod(self, service: str, told: list[Told], closer: BadVisits | None) -> str | None:
        if closer is not None and closer.dimension == "pod":
            return closer.value
        named = next((what.entity for what in told if what.entity_kind == "pod"), None)
        return named or self.only_pod.get(service)


def _named_by(closer: BadVisits | None) -> tuple[str, str] | None:
    """Return the entity and kind that a contrast names: what was rolled out, or the one pod that is bad."""
    if closer is None:
        return None
    if closer.dimension == "version" and closer.is_new:
        return f"{closer.service} {closer.value}", "change"
    return (closer.value, "pod") if closer.dimension == "pod" else None


def _operation(strongest: Told | None, closer: BadVisits | None) -> str | None:
    if closer is not None and closer.dimension == "operation":
        return closer.value
    return strongest.operation if strongest else None


def _only_pods(case: Case) -> dict[str, str]:
    """Return the pod of each service that has one alone."""
    pods: dict[str, set[str]] = {}
    for signal in ("spans", "series"):
        table = case.telemetry.table(signal).select(["service", "pod"])
        known = table.filter(pc.and_(pc.is_valid(table["service"]), pc.is_valid(table["pod"])))
        pairs = known.group_by(["service", "pod"]).aggregate([])
        for service, pod in zip(pairs["service"].to_pylist(), pairs["pod"].to_pylist(), strict=True):
            pods.setdefault(service, set()).add(pod)
    return {service: next(iter(found)) for service, found in pods.items() if len(found) == 1}
