"""All rules over a cluster's history: findings, each with entity, services, onset, explanation and the next command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ...graph.kubernetes import History
from ...graph.kubernetes_objects import Object
from ...graph.kubernetes_services import ServiceJoin, Speakers
from ...tracer.kubernetes.rows import MALFORMED
from .kubernetes_rules.changes import CHANGES
from .kubernetes_rules.network import NETWORK
from .kubernetes_rules.nodes import NODES
from .kubernetes_rules.pods import PODS
from .kubernetes_rules.rule import EntityKind, Rule, Sign, View
from .kubernetes_rules.scheduling import SCHEDULING
from .kubernetes_rules.storage import STORAGE
from .kubernetes_rules.workloads import WORKLOAD

RULES: Final[tuple[Rule, ...]] = (*PODS, *SCHEDULING, *STORAGE, *NODES, *WORKLOAD, *NETWORK, *CHANGES)
# A pod that fails within this time of a rollout of its workload fails because of it.
_AFTER_ROLLOUT_NS: Final = 600 * 10**9
# A state that comes back sooner has not been over.
_APART_NS: Final = 30 * 10**9
_ROLLOUT: Final = ("rolled out", "rolled back", "created")


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that began at ``onset_ns``.

    ``entity`` is a pod's or node's name, else ``Kind/namespace/name``; ``entity_kind`` is object, pod, node or change;
    ``services`` are those that the entity bears on. ``nats`` is how much it incriminates at its onset. ``is_context``
    tells that it began before the window: a state that was there all along explains no incident. ``until_ns`` is when
    it was over, None while it lasts; ``notice_ns`` how much before its onset it may have begun unnoticed.
    """

    rule: str
    entity: str
    entity_kind: EntityKind
    found: Object
    services: tuple[str, ...]
    onset_ns: int
    text: str
    command: str
    nats: float
    is_context: bool = False
    until_ns: int | None = None
    notice_ns: int = 0


def causes(
    history: History,
    speakers: Speakers,
    calls: Iterable[tuple[str, str]] = (),
    heard_ns: int = 0,
    problems: list[str] | None = None,
) -> list[Finding]:
    """Return what speaks against objects of a cluster, the strongest first.

    Parameters
    ----------
    speakers
        Who speaks in the telemetry, so that findings carry its services.
    calls
        (caller, callee) of the graph before the incident, for what cuts them.
    heard_ns
        The time of the last telemetry, nanoseconds since the epoch: how far the end of the window is known.
    problems
        Takes a line for each object that a rule could not read.
    """
    view = View(history, ServiceJoin(history.whole, speakers), tuple(calls), heard_ns)
    signs: list[tuple[Rule, Object, Sign]] = []
    for versions in history.versions.values():
        for rule in _BY_KIND.get(versions[0].kind, ()):
            try:
                signs += [(rule, versions[-1], sign) for sign in rule.check(view, versions)]
            except MALFORMED as error:
                if problems is not None:
                    problems.append(f"{versions[0].key}: {rule.name}: {type(error).__name__}: {str(error)[:100]}")
    found = [_finding(view, rule, looked_at, sign) for rule, looked_at, sign in _merged(view, signs)]
    found = _with_rollouts(view, found)
    return sorted(found, key=lambda f: (f.is_context, -f.nats, f.onset_ns, f.entity, f.rule))


_BY_KIND: Final[dict[str, list[Rule]]] = {}
for _rule in RULES:
    for _kind in _rule.kinds:
        _BY_KIND.setdefault(_kind, []).append(_rule)


_Seen = tuple[Rule, Object, Sign]


def _merged(view: View, signs: Sequence[_Seen]) -> list[_Seen]:
    """Return one sign for replicas of one workload that show the same: the earliest, with their number and services."""
    groups: dict[tuple[str, str, str], list[_Seen]] = {}
    for rule, looked_at, sign in signs:
        about = sign.about or looked_at
        whom = view.whole.root(about).uid if about.kind == "Pod" else about.uid
        # One object may change several times, and each change is a finding; a pod fails again and again.
        when = "" if rule.entity_kind != "change" else str(sign.onset_ns)
        groups.setdefault((rule.name, whom, sign.group + when), []).append((rule, looked_at, sign))
    merged = []
    for group in (episode for each in groups.values() for episode in _episodes(each)):
        rule, looked_at, first = min(group, key=lambda g: (g[2].onset_ns, g[1].name))
        latest = max(group, key=lambda g: (g[2].onset_ns, g[1].name))[2]
        pods = {(sign.about or seen).uid for _, seen, sign in group}
        more = f" (and {len(pods) - 1} more of its pods)" if len(pods) > 1 else ""
        ends = [sign.until_ns for _, _, sign in group]
        until = None if None in ends else max(end for end in ends if end is not None)
        told = [sign.services for _, _, sign in group if sign.services is not None]
        services = tuple(sorted({name for each in told for name in each})) if told else None
        sign = replace(first, text=latest.text + more, until_ns=until, services=services)
        merged.append((rule, looked_at, sign))
    return merged


def _episodes(group: list[_Seen]) -> Iterator[list[_Seen]]:
    """Yield the signs of a state that was over and came back later apart: the second time has an onset of its own."""
    episode: list[_Seen] = []
    end: int | None = 0
    for each in sorted(group, key=lambda g: (g[2].onset_ns, g[1].name)):
        onset, until = each[2].onset_ns, each[2].until_ns
        if episode and end is not None and onset - end > _APART_NS:
            yield episode
            episode, end = [], 0
        episode.append(each)
        end = None if end is None or until is None else max(end, until)
    yield episode


def _finding(view: View, rule: Rule, looked_at: Object, sign: Sign) -> Finding:
    about = sign.about or looked_at
    kind: EntityKind = rule.entity_kind
    if about.kind == "Pod" and kind != "change":
        kind = "pod"
    elif about.kind == "Node":
        kind = "node"
    elif kind in ("pod", "node"):
        kind = "object"
    services = sign.services if sign.services is not None else tuple(view.join.services(about))
    return Finding(
        rule.name,
        about.name if kind in ("pod", "node") else about.key,
        kind,
        about,
        services,
        sign.onset_ns,
        f"{about.kind} {about.name} {sign.text}",
        sign.command,
        rule.nats if sign.nats is None else sign.nats,
        sign.onset_ns < view.history.window.start_ns,
        sign.until_ns,
        sign.notice_ns,
    )


def _with_rollouts(view: View, found: list[Finding]) -> list[Finding]:
    """Return the findings, a rollout strengthened by what its new pods suffer from: it is what can be undone."""
    result = list(found)
    for place, change in enumerate(found):
        if change.rule != "change" or not any(f"was {verb}" in change.text for verb in _ROLLOUT[:2]):
            continue
        suffering = [
            f
            for f in found
            if f.found.kind == "Pod"
            and view.whole.root(f.found).uid == change.found.uid
            and -5 * 10**9 <= f.onset_ns - change.onset_ns <= _AFTER_ROLLOUT_NS
            and (f.found.created_ns or 0) >= change.onset_ns - 5 * 10**9
        ]
        if suffering:
            worst = max(suffering, key=lambda f: f.nats)
            result[place] = replace(change, nats=worst.nats + 1.0, text=f"{change.text}; then {worst.text}")
    return result


def find_causes(history: History, *services: str) -> list[Finding]:
    """Return `causes` of a history without telemetry: services are named by the conventions of Kubernetes."""
    return causes(history, Speakers({}, {}, frozenset(services)))
