"""Pods that find no node, and workloads that may not make pods: capacity, taints, quotas, limits, webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from ....graph.kubernetes import WORKLOADS, Object
from ....tracer.kubernetes.times import to_ns
from .rule import Rule, Sign, View, kubectl, runs, short

_TAINTED: Final = "the nodes carry a taint that it does not tolerate"
# What the scheduler's message holds, and how people say it; the first that matches.
_REASONS: Final = (
    (r"persistentvolumeclaim \"([^\"]+)\" not found", "its claim {0} does not exist"),
    (r"unbound immediate PersistentVolumeClaims", "its volume claim is not bound"),
    (r"volume node affinity conflict", "its volume lies where no free node is"),
    (r"untolerated taints? \{?([^}:,]*)", f"{_TAINTED}: {{0}}"),
    (r"had taints? \{?([^}:,]*)", f"{_TAINTED}: {{0}}"),
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
    """Return why the scheduler found no node, in words.

    >>> unschedulable_reason("0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available")
    'not enough cpu is free'
    """
    for expression, words in _REASONS:
        if match := re.search(expression, message):
            return words.format(*(group.strip() for group in match.groups()))
    return short(message, 160)


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
        if (node := _tainted(view, reason)) is not None:
            text = f"takes no pod that does not tolerate its taint: {pod.name} waits"
            services = tuple(view.join.services(pod))
            yield Sign(onset, text, kubectl("describe", node), about=node, services=services)
        else:
            yield Sign(onset, f"no node takes it: {reason}", kubectl("describe", pod), about=_claim(view, pod, reason))


def _tainted(view: View, reason: str) -> Object | None:
    """Return the node whose new taint is why a pod waits."""
    _, found, key = reason.rpartition(f"{_TAINTED}: ")
    if not found:
        return None

    def has(node: Object) -> bool:
        return any(str(taint.get("key")) == key for taint in node.spec.get("taints") or ())

    for node in view.whole.of("Node"):
        versions = view.history.versions[node.uid]
        if has(versions[-1]) and any(
            has(after) and not has(before) and after.valid_from_ns >= view.history.window.start_ns
            for before, after in pairwise(versions)
        ):
            return node
    return None


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
        text = f"quota {quota.group(1)} is used up, so {root.kind} {root.name} gets no pods: {short(message, 160)}"
        command = kubectl("describe", named) if named else kubectl("describe", found)
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
    Rule("waiting in order", ("StatefulSet",), 4.0, "pod", _ordered),
    Rule("taint", ("Node",), 4.0, "node", _cordoned),
)
