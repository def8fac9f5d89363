"""Nodes: not ready, under pressure, gone, rebooted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from ....graph.kubernetes_objects import Object
from ....tracer.kubernetes.times import to_ns
from .rule import Rule, Sign, View, kubectl, over, runs, short

# How long a kubelet may be silent before its node is called lost: 40 s, or 50 s since 1.32, with a look every 5 s.
_GRACE_NS: Final = 55 * 10**9
_PRESSURES: Final = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def _not_ready(view: View, versions: list[Object]) -> Iterator[Sign]:
    for run, status in runs(versions, lambda n: n.condition("Ready").get("status") in ("False", "Unknown") and n):
        condition = status.condition("Ready")
        onset = to_ns(condition.get("lastTransitionTime")) or run[0].valid_from_ns
        lost = condition.get("status") == "Unknown"
        what = (
            "its kubelet stopped reporting" if lost else short(condition.get("message") or condition.get("reason"), 160)
        )
        until, notice_ns = over(view, run), _GRACE_NS if lost else 0
        yield Sign(onset, f"is not ready: {what}", kubectl("describe", run[0]), until_ns=until, notice_ns=notice_ns)


def _pressure(view: View, versions: list[Object]) -> Iterator[Sign]:
    for kind in _PRESSURES:
        for run, _ in runs(versions, partial(_has, kind)):
            condition = run[0].condition(kind)
            onset = to_ns(condition.get("lastTransitionTime")) or run[0].valid_from_ns
            text = f"has {kind}: {short(condition.get('message') or condition.get('reason'), 160)}"
            yield Sign(onset, text, kubectl("describe", run[0]), group=kind, until_ns=over(view, run))


def _has(kind: str, node: Object) -> bool:
    return bool(node.condition(kind).get("status") == "True")


def _gone(view: View, versions: list[Object]) -> Iterator[Sign]:
    last = versions[-1]
    if last.valid_to_ns <= view.end_ns and view.whole.into.get(last.key):
        yield Sign(last.valid_to_ns, "was removed from the cluster while pods ran on it", "kubectl get nodes")


def _told(view: View, versions: list[Object]) -> Iterator[Sign]:
    for reason, words in (("SystemOOM", "ran out of memory"), ("Rebooted", "rebooted"), ("KernelDeadlock", "hangs")):
        if told := view.history.events_of(versions[-1], reason):
            text = f"{words}: {short(told[-1].message, 160)}"
            yield Sign(told[0].first_ns, text, kubectl("describe", versions[-1]), group=reason)


def newly_tainted(view: View, name: str) -> Object | None:
    """Return a node that carries a taint which it got in the window; None for any other."""
    node = view.whole.named("Node", None, name)
    if node is None:
        return None
    before = [one for one in view.history.versions[node.uid] if one.valid_from_ns < view.history.window.start_ns]
    return node if _taints(node) - (_taints(before[-1]) if before else set()) else None


def _taints(node: Object) -> set[tuple[Any, Any]]:
    return {(taint.get("key"), taint.get("effect")) for taint in node.spec.get("taints") or ()}


NODES: Final = (
    Rule("node not ready", ("Node",), 6.5, "node", _not_ready),
    Rule("node pressure", ("Node",), 5.5, "node", _pressure),
    Rule("node removed", ("Node",), 6.0, "node", _gone),
    Rule("node event", ("Node",), 5.0, "node", _told),
)
