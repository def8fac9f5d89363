"""The answer to "where did it begin?" in words, the same for the terminal, the notebook and the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..analysis.ranking import Candidate, Evidence, Ranking

_SURE, _LIKELY = 0.8, 0.5
_RUNNERS_UP = 4

# What an engineer opens first, by the kind of the strongest evidence and then by the kind of the candidate.
_LOOK_BY_EVIDENCE = {
    "latency": "the slow traces of {entity}: where does the time go that is its own?",
    "errors": "the error messages of {entity}, the deepest span first",
    "last answers": "what {entity} answered just before its caller failed",
    "silence": "whether {entity} still runs, restarts or is cut off",
    "traffic": "who sends {entity} so many requests, and whether they can be limited",
    "structure": "which calls {entity} began or stopped to make, and the configuration that decides it",
    "log lines": "the log of {entity} around the onset: which lines are new, which are missing?",
    "log volume": "the log of {entity} around the onset: what fills it, or what stopped writing?",
    "saturation": "the limits and the usage of {entity}: CPU, memory, connections, disk",
    "signals": "the metrics of {entity} that moved at the onset",
    "edge metrics": "the metrics of the calls to {entity}, from each of its callers",
    "excess": "the metrics of {entity} beyond what its callees explain",
    "change": "what changed at {entity} just before, and whether it can be rolled back",
}
_LOOK_BY_KIND = {
    "edge": "the network between both ends: delay, loss, name resolution, a proxy between them",
    "database": "slow queries, locks and connections of {entity}",
    "cache": "hit ratio, evictions and connections of {entity}",
    "messaging": "queue depth, consumers and redeliveries of {entity}",
    "external": "the status page and the latency of {entity}: it is not yours",
    "node": "conditions, pressure and neighbours on node {entity}",
}
# Without what a shell would obey, since names come from telemetry; the one address in quotes is written by ourselves.
_SAFE_COMMAND = re.compile(r"kubectl (?:[\w .,:/=@-]+|get --raw '/[a-z/]+\?verbose')")
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_COMMANDS = {
    "pod": ("kubectl describe pod {name}", "kubectl logs {name} --previous --tail=100"),
    "node": ("kubectl describe node {name}",),
    "service": ("kubectl rollout history deployment {name}", "kubectl logs deployment/{name} --since=1h --tail=200"),
    "change": ("kubectl rollout history deployment {name}",),
    "operation": ("kubectl logs deployment/{name} --since=1h --tail=200",),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One of root cause, critical failure and impact: whom it concerns, and the fact with its figures."""

    role: str
    entity: str
    fact: str


@dataclass(frozen=True, slots=True)
class Answer:
    """``onset_ns`` is None when unknown; ``symptom`` is where it hurts, None when nobody can tell."""

    headline: str
    certainty: str
    since: str
    where: str  # in the service, empty where nothing tells
    onset_ns: int | None
    symptom: str | None
    steps: tuple[Step, ...]
    look_at: tuple[str, ...]
    commands: tuple[str, ...]


def answer(ranking: Ranking, case: Case | None = None) -> Answer:
    """Return the answer of ``ranking``; with its ``case`` the steps carry figures from before and since the onset."""
    first = ranking.candidates[0] if ranking.candidates else None
    symptom = symptom_of(first, case)
    if ranking.outcome in ("failed", "not-applicable"):
        reason = ranking.error or "it gave no reason"
        what = "failed" if ranking.outcome == "failed" else "cannot judge this incident"
        return Answer(f"No answer: {ranking.ranker} {what}", reason, "", "", None, symptom, (), (), ())
    if first is None:
        return Answer("No clear origin", "no candidate stands out", "", "", None, symptom, (), (), ())
    since = _since(first, case)
    if ranking.outcome == "no-origin":
        certainty = "the evidence is too weak to name one; the candidates below are only an order"
        return Answer("No clear origin", certainty, since, "", first.onset_ns, symptom, (), _look_at(first)[:1], ())
    headline = f"{name_of(first)} is {_adverb(first)} the origin"
    steps = _steps(ranking, first, symptom, case)
    commands = () if case is None else _commands(first, case)
    return Answer(
        headline, certainty_of(ranking), since, _where(first), first.onset_ns, symptom, steps, _look_at(first), commands
    )


def name_of(candidate: Candidate) -> str:
    """Return the entity with its kind, an edge in words.

    >>> from hypocenter.analysis.ranking import Candidate
    >>> name_of(Candidate("web -> cart", "edge", "cart", 0.9)), name_of(Candidate("cart", "service", "cart", 0.9))
    ('the way from web to cart', 'cart (service)')
    """
    if candidate.kind == "edge" and " -> " in candidate.entity:
        caller, callee = candidate.entity.split(" -> ", 1)
        return f"the way from {caller} to {callee}"
    return f"{candidate.entity} ({candidate.kind})"


def certainty_of(ranking: Ranking) -> str:
    """Return how sure the ranking is of its first candidate, beside its second."""
    first, *rest = ranking.candidates
    if first.probability is None:
        return f"{ranking.ranker} gives scores, no probability: {first.score:.3g}" + (
            f" against {rest[0].score:.3g} for {rest[0].entity}" if rest else ""
        )
    text = percent(first.probability)
    second = next((c for c in rest if c.probability is not None), None)
    return text if second is None else f"{text}; next is {second.entity} with {percent(second.probability or 0.0)}"


def percent(probability: float) -> str:
    """Return a probability in whole percent that never claims certainty.

    >>> percent(0.874), percent(0.9999), percent(0.0001)
    ('87%', 'over 99%', 'under 1%')
    """
    if probability > 0.99:
        return "over 99%"
    return "under 1%" if probability < 0.01 else f"{probability:.0%}"


def clock(time_ns: int) -> str:
    """Return a UTC time to the second, for people.

    >>> clock(1_700_000_000_250_000_000)
    '2023-11-14 22:13:20 UTC'
    """
    from ..tracer.window import SECOND_NS, to_rfc3339

    return to_rfc3339(time_ns - time_ns % SECOND_NS).replace("T", " ").replace("Z", " UTC")


def runners_up(ranking: Ranking) -> tuple[Candidate, ...]:
    """Return the candidates that a reader should have seen before trusting the first; all when there is no origin."""
    skip = 1 if ranking.outcome == "ranked" else 0
    return ranking.candidates[skip : skip + _RUNNERS_UP]


def doubts(candidate: Candidate) -> str:
    """Return the best that speaks for a candidate that is not the first, and what speaks against it."""
    best = candidate.evidence_for[0].text if candidate.evidence_for else "nothing speaks for it"
    against = "; ".join(grouped(candidate.evidence_against))
    return f"{best}; but {against}" if against else best


def grouped(evidence: Sequence[Evidence]) -> list[str]:
    """Return a line per text of evidence, the kinds that say the same together.

    >>> from hypocenter.analysis.ranking import Evidence
    >>> grouped([Evidence("latency", 0, "no"), Evidence("errors", 0, "no"), Evidence("silence", -1, "it talks")])
    ['latency, errors: no', 'silence: it talks']
    """
    kinds: dict[str, list[str]] = {}
    for item in evidence:
        kinds.setdefault(item.text, []).append(item.kind)
    return [f"{', '.join(names)}: {text}" for text, names in kinds.items()]


def symptom_of(first: Candidate | None, case: Case | None) -> str | None:
    """Return where it hurts: what the case says, else where the first candidate's path ends."""
    if case is not None and case.symptom.entity:
        return case.symptom.entity
    return first.path[-1] if first is not None and first.path else None


def split_ns(ranking: Ranking, case: Case) -> int:
    """Return the time that parts before from since: the first candidate's onset, else the alert."""
    first = ranking.candidates[0] if ranking.candidates else None
    return case.alert_ns if first is None or first.onset_ns is None else first.onset_ns


def subject(candidate: Candidate) -> tuple[str, str | None]:
    """Return (callee, caller) of the calls that show a candidate; the caller is None unless it is an edge."""
    if candidate.kind == "edge" and " -> " in candidate.entity:
        caller, callee = candidate.entity.split(" -> ", 1)
        return callee, caller
    if candidate.kind in ("database", "cache", "messaging", "external"):
        return candidate.entity, None
    return candidate.service, None


def _where(candidate: Candidate) -> str:
    if candidate.where:
        return candidate.where
    return f"in {candidate.operation}" if candidate.operation else ""


def _adverb(candidate: Candidate) -> str:
    if candidate.probability is None:
        return "ranked first as"
    if candidate.probability >= _SURE:
        return "very likely"
    return "likely" if candidate.probability >= _LIKELY else "perhaps"


def _since(candidate: Candidate, case: Case | None) -> str:
    if candidate.onset_ns is None:
        return "onset unknown" + (f"; {case.noticed} is of {clock(case.alert_ns)}" if case else "")
    if case is None:
        return f"since {clock(candidate.onset_ns)}"
    seconds = (case.alert_ns - candidate.onset_ns) / 1e9
    if abs(seconds) < 1:
        return f"since {clock(candidate.onset_ns)}, with {case.noticed}"
    distance = f"{abs(seconds):.0f} s" if abs(seconds) < 120 else f"{abs(seconds) / 60:.0f} min"
    return f"since {clock(candidate.onset_ns)}, {distance} {'before' if seconds > 0 else 'after'} {case.noticed}"


def _steps(ranking: Ranking, first: Candidate, symptom: str | None, case: Case | None) -> tuple[Step, ...]:
    from .traffic import change, is_worse, metric_change, sides, told

    callee, caller = subject(first)
    split = None if case is None else split_ns(ranking, case)

    def seen(service: str, by: str | None = None) -> str:
        found = None
        if case is not None and split is not None:
            found = change(case, service, split, by) or metric_change(case, service, split)
        if found is None and service != callee:
            found = _evidence_of(ranking, service)
        return found or "neither its calls nor its metrics show a change"

    cause = first.evidence_for[0].text if first.evidence_for else seen(callee, caller)
    steps = [Step("Root cause", name_of(first), cause)]
    through = caller or (first.path[1] if len(first.path) > 1 else None)
    if through is not None:
        steps.append(Step("Critical failure", f"calls from {through} to {callee}", seen(callee, through)))
    else:
        steps.append(Step("Critical failure", f"requests to {callee}", seen(callee)))
    if symptom is None:
        steps.append(Step("Impact", "unknown", "no symptom was given or found"))
    elif symptom == callee and through is None:
        steps.append(Step("Impact", symptom, "it is itself where it hurts"))
    else:
        fact = None
        if case is not None and split is not None and through is not None:
            # As a whole it may look well while what goes this way suffers.
            passing = sides(case, symptom, split, through=(through, callee))
            if not is_worse(*sides(case, symptom, split)) and is_worse(*passing):
                fact = f"requests that go this way: {told(*passing)}"
        steps.append(Step("Impact", symptom, fact or seen(symptom)))
    return tuple(steps)


def _evidence_of(ranking: Ranking, service: str) -> str | None:
    return next((c.evidence_for[0].text for c in ranking.candidates if c.service == service and c.evidence_for), None)


def _look_at(candidate: Candidate) -> tuple[str, ...]:
    # What takes longer on the way is nobody's own time.
    told = [e.kind for e in candidate.evidence_for[:2] if (candidate.kind, e.kind) != ("edge", "latency")]
    texts = [_LOOK_BY_EVIDENCE.get(kind) for kind in told]
    texts.append(_LOOK_BY_KIND.get(candidate.kind))
    # replace, not format: a hostile name may hold braces.
    found = [text.replace("{entity}", candidate.entity) for text in texts if text]
    return tuple(found) or (f"the dashboards and the log of {candidate.entity} around the onset",)


def _commands(candidate: Candidate, case: Case) -> tuple[str, ...]:
    told = dict.fromkeys(e.command for e in candidate.evidence_for if e.command and _SAFE_COMMAND.fullmatch(e.command))
    if told:
        return tuple(told)
    name = candidate.entity if candidate.kind in ("pod", "node") else candidate.service
    # The name comes from telemetry and people paste these lines into a shell: what Kubernetes would refuse is left out.
    if not _KUBERNETES_NAME.fullmatch(name) or not _has_pods(case, candidate.service):
        return ()
    return tuple(command.replace("{name}", name) for command in _COMMANDS.get(candidate.kind, ()))


def _has_pods(case: Case, service: str) -> bool:
    import pyarrow.compute as pc

    for signal in ("spans", "series"):
        table = case.telemetry.table(signal)
        pods = table["pod"].filter(pc.equal(table["service"], service))
        if len(pods) > pods.null_count:
            return True
    return False
