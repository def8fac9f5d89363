"""Pods that find no node, and workloads that may not make pods: capacity, taints, quotas, limits, webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from ....graph.kubernetes_objects import WORKLOADS, Object
from ....tracer.kubernetes.times import to_ns
from .nodes import newly_tainted
from .rule import Rule, Sign, View, kubectl, over, runs, short

# What the scheduler's message holds, and how people say it; the first that matches.
_REASONS: Final = (
    (r"persistentvolumeclaim \"([^\"]+)\" not found", "its claim {0} does not exist"),
    (r"unbound immediate PersistentVolumeClaims", "its volume claim is not bound"),
    (r"volume node affinity conflict", "its volume lies where no free node is"),
    (r"untolerated taint\(s\)", "the nodes carry taints that it does not tolerate"),
    (r"untolerated taints? \{?([^}:,]*)", "the nodes carry a taint that it does not tolerate: {0}"),
    (r"had taints? \{?([^}:,]*)", "the nodes carry a taint that it does not tolerate: {0}"),
    (r"Insufficient ([a-z0-9-]+(?:[./][a-z0-9-]+)*)", "not enough {0} is free"),
    (r"Too many pods", "the nodes have their full number of pods"),
    (
        r"node affinity/selector|node selector|didn't match Pod's node affinity",
        "no node has the labels that it asks for",
    ),
    (r"pod anti-affinity rules|pod affinity rules", "its affinity to other pods leaves no node"),
    (r"topology spread", "its spread over topology leaves no node"),
    (r"free ports", "its host port is taken on every node"),
    (r"unschedulable", "the nodes are cordoned"),
    (r"no nodes available", "the cluster has no node"),
)
_QUOTA: Final = re.compile(r"exceeded quota: ([a-z0-9.-]+)")
_LIMITS: Final = re.compile(r"(maximum|minimum) .* usage per|LimitRange", re.IGNORECASE)
_WEBHOOK: Final = re.compile(r"(?:admission )?webhook \"([^\"]+)\"")


def unschedulable_reason(message: str) -> str:
    """Return why the scheduler found no node, in words: what it says of the most nodes.

    >>> unschedulable_reason("0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available")
    'not enough cpu is free'
    >>> unschedulable_reason("0/9 nodes are available: 1 node(s) had untolerated taint(s), 8 Too many pods.")
    'the nodes have their full number of pods'
    """
    parts = message.partition("available: ")[2].partition("preemption:")[0].split(", ")
    counted = [(int(match[1]), match[2]) for part in parts if (match := re.match(r"(\d+) (.*)", part))]
    told = [part for _, part in sorted(counted, key=lambda each: -each[0])]
    return next((words for part in (*told, message) if (words := _words(part))), short(message, 160))


def _words(part: str) -> str | None:
    for expression, words in _REASONS:
        if match := re.search(expression, part):
            return words.format(*(group.strip() for group in match.groups()))
    return None


def _unschedulable(view: View, versions: list[Object]) -> Iterator[Sign]:
    def waits(pod: Object) -> bool:
        found = pod.condition("PodScheduled")
        return found.get("status") == "False" and found.get("reason") in ("Unschedulable", "SchedulerError")

    for run, _ in runs(versions, waits):
        # The reason may change while it waits; the last is what still holds.
        pod = run[-1]
        found = pod.condition("PodScheduled")
        onset = to_ns(run[0].condition("PodScheduled").get("lastTransitionTime")) or run[0].valid_from_ns
        reason = unschedulable_reason(str(found.get("message") or ""))
        if (node := _closed(view, pod)) is not None:
            text = f"takes back no pod that does not tolerate its taint: {pod.name} waits"
            services = tuple(view.join.services(pod))
            yield Sign(onset, text, kubectl("describe", node), about=node, services=services, until_ns=over(view, run))
        else:
            text, claim = f"no node takes it: {reason}", _claim(view, pod, reason)
            yield Sign(onset, text, kubectl("describe", pod), about=claim, until_ns=over(view, run))


def _closed(view: View, pod: Object) -> Object | None:
    """Return the node on which pods of the same workload ran and that got a taint since: that is why one waits."""
    if not re.search("taint|unschedulable", str(pod.condition("PodScheduled").get("message") or "")):
        return None
    siblings = view.whole.pods_of(view.whole.root(pod))
    names = sorted({str(one.spec["nodeName"]) for one in siblings if one.spec.get("nodeName")})
    return next((node for name in names if (node := newly_tainted(view, name)) is not None), None)


def _claim(view: View, pod: Object, reason: str) -> Object | None:
    """Return the claim that is to blame when a pod waits for its volume."""
    if "claim" not in reason:
        return None
    for edge in view.whole.out.get(pod.key, ()):
        claim = view.whole.by_key.get(edge.target)
        if claim is not None and claim.kind == "PersistentVolumeClaim" and claim.status.get("phase") != "Bound":
            return claim
    return None


def _refused(view: View, versions: list[Object]) -> Iterator[Sign]:
    """Workloads whose pods the API server refuses."""
    found = versions[-1]
    told = view.history.events_of(found, "FailedCreate")
    failure = next((c for v in versions if (c := v.condition("ReplicaFailure")).get("status") == "True"), {})
    if not told and not failure:
        return
    message = told[-1].message if told else str(failure.get("message") or "")
    onset = told[0].first_ns if told else to_ns(failure.get("lastTransitionTime"))
    if onset is None:
        return
    root = view.whole.root(found)
    if quota := _QUOTA.search(message):
        named = view.whole.named("ResourceQuota", found.namespace, quota.group(1))
        why = (
            f"is used up, so {root.kind} {root.name} gets no pods"
            if named
            else f"gets no pods by quota {quota.group(1)}"
        )
        text, command = f"{why}: {short(message, 160)}", kubectl("describe", named or found)
        yield Sign(onset, text, command, about=named or root, services=tuple(view.join.services(root)))
    elif webhook := _WEBHOOK.search(message):
        text = f"webhook {webhook.group(1)} refuses its pods: {short(message, 160)}"
        yield Sign(onset, text, kubectl("describe", found), about=root)
    elif _LIMITS.search(message):
        yield Sign(
            onset, f"a LimitRange refuses its pods: {short(message, 160)}", kubectl("describe", found), about=root
        )
    else:
        yield Sign(onset, f"its pods cannot be made: {short(message, 160)}", kubectl("describe", found), about=root)


def _used_up(view: View, versions: list[Object]) -> Iterator[Sign]:
    """A quota that is spent, where a workload of its namespace lacks pods and no event tells why."""
    lacking = [
        found
        for found in view.end.of("Deployment", "StatefulSet")
        if found.namespace == versions[0].namespace
        and int(found.spec.get("replicas") or 0) > int(found.status.get("readyReplicas") or 0)
    ]
    for run, told in runs(versions, _exhausted):
        for one in lacking:
            text = f"is used up ({told}), and {one.kind} {one.name} lacks pods"
            services, until = tuple(view.join.services(one)), over(view, run)
            yield Sign(run[0].valid_from_ns, text, kubectl("describe", run[0]), services=services, until_ns=until)


def _exhausted(quota: Object) -> str | None:
    """Return which resource of a quota is used up, with its figures."""
    hard, used = (quota.status.get(side) or {} for side in ("hard", "used"))
    for name in sorted(hard):
        most, now = str(hard[name]), str(used.get(name, "0"))
        # Amounts of one resource are written in one unit, or are plain numbers.
        full = float(now) >= float(most) if most.isdigit() and now.isdigit() else now == most
        if full and most != "0":
            return f"{name}: {now} of {most}"
    return None


def _ordered(view: View, versions: list[Object]) -> Iterator[Sign]:
    """A StatefulSet starts its pods one after another: one that is not ready keeps the later ones waiting."""
    found = view.end.objects.get(versions[-1].uid)
    if found is None or found.spec.get("podManagementPolicy", "OrderedReady") != "OrderedReady":
        return
    wanted, pods = int(found.spec.get("replicas") or 0), view.end.owned(found, "Pod")
    waiting = [p for p in pods if p.condition("Ready").get("status") != "True"]
    if len(pods) >= wanted or not waiting:
        return
    first = min(waiting, key=lambda p: (len(p.name), p.name))
    onset = to_ns(first.condition("Ready").get("lastTransitionTime")) or first.valid_from_ns
    text = f"{wanted - len(pods)} of its {wanted} pods are not made: {first.name} comes before them and is not ready"
    yield Sign(onset, text, kubectl("describe", first), about=first)


def _cordoned(view: View, versions: list[Object]) -> Iterator[Sign]:
    for before, after in pairwise(versions):
        if after.spec.get("unschedulable") and not before.spec.get("unschedulable"):
            yield Sign(after.valid_from_ns, "was cordoned: no new pods come here", kubectl("describe", after), nats=2.0)
        old = {(t.get("key"), t.get("effect")) for t in before.spec.get("taints") or ()}
        for taint in after.spec.get("taints") or ():
            key, effect = str(taint.get("key")), str(taint.get("effect"))
            if (taint.get("key"), taint.get("effect")) in old or key.startswith("node.kubernetes.io/"):
                continue
            onset = to_ns(taint.get("timeAdded")) or after.valid_from_ns
            nats = 5.0 if effect == "NoExecute" else 2.5
            what = (
                "pods that do not tolerate it are thrown out" if effect == "NoExecute" else "new pods must tolerate it"
            )
            yield Sign(onset, f"got the taint {key}:{effect}: {what}", kubectl("describe", after), nats=nats, group=key)


SCHEDULING: Final = (
    Rule("unschedulable", ("Pod",), 6.0, "pod", _unschedulable),
    Rule("pods refused", tuple(k for k in WORKLOADS if k != "CronJob"), 6.0, "object", _refused),
    Rule("quota used up", ("ResourceQuota",), 4.0, "object", _used_up),
    Rule("waiting in order", ("StatefulSet",), 4.0, "pod", _ordered),
    Rule("taint", ("Node",), 4.0, "node", _cordoned),
)
