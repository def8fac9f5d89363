"""Causes that no object shows and metrics do: containers held back by their limit, a control plane that does badly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from ...graph.kubernetes import History
from ...graph.kubernetes_objects import Object
from ...graph.kubernetes_services import ServiceJoin, Speakers
from .kubernetes_causes import Finding
from .kubernetes_rules import control_plane, throttling
from .kubernetes_rules.control_plane import Troubled, troubled
from .kubernetes_rules.rule import container_spec, kubectl
from .kubernetes_rules.throttling import throttled

if TYPE_CHECKING:
    from ...tracer.store import Store

# Of the metrics that are looked at.
NAMES: Final = {*control_plane.NAMES, *throttling.NAMES}

_THROTTLED_NATS: Final = 4.0
# What runs goes on without a control plane; what starts needs it.
_CONTROL_PLANE_NATS: Final = 3.0
_COMMANDS: Final = {
    "kube-apiserver": "kubectl get --raw '/readyz?verbose'",
    "etcd": "kubectl get --raw '/readyz/etcd?verbose'",
    "kubelet": "kubectl describe node {node}",
}
_PODS: Final = "kubectl -n kube-system get pods -l component={component}"


def measured(history: History, join: ServiceJoin, series: pa.Table, points: pa.Table) -> Iterator[Finding]:
    """Yield what series and points speak of; their objects are those of ``history``."""
    yield from _held_back(history, join, series, points)
    for one in troubled(series, points):
        yield _control_plane(history, join, one)


def read_measured(store: Store, history: History) -> list[Finding]:
    """Return what the series of a store say in the window of a history, without knowing who speaks."""
    series = store.read("series", filter=pc.field("name").isin(sorted(NAMES)))
    if not series.num_rows:
        return []
    chosen = pc.field("series_id").isin(series["series_id"].unique().to_pylist())
    points = store.read("points", history.window, filter=chosen)
    return list(measured(history, ServiceJoin(history.whole, Speakers({}, {}, frozenset())), series, points))


def _held_back(history: History, join: ServiceJoin, series: pa.Table, points: pa.Table) -> Iterator[Finding]:
    """Yield the pods that reach their CPU limit."""
    pods = {(pod.namespace, pod.name): pod for pod in history.whole.of("Pod")}
    for one in throttled(series, points):
        pod = pods.get((one.namespace, one.pod)) or next((p for (_, name), p in pods.items() if name == one.pod), None)
        if pod is None:
            continue
        limit = ((container_spec(pod, one.container).get("resources") or {}).get("limits") or {}).get("cpu")
        at = f" at its limit of {limit}" if limit else ""
        shares = f"in {one.since:.0%} of its periods, {one.before:.0%} before"
        text = f"Pod {pod.name} container {one.container} is held back{at} {shares}"
        services = (join.of_pod[pod.uid],)
        command = kubectl("describe", pod)
        yield Finding("CPU throttled", pod.name, "pod", pod, services, one.onset_ns, text, command, _THROTTLED_NATS)


def _control_plane(history: History, join: ServiceJoin, one: Troubled) -> Finding:
    """Return the finding on a component; it bears on the services of the pods that changed since, or wait."""
    node = history.whole.named("Node", None, one.node) if one.node else None
    found = node or _component(one.component, one.onset_ns)
    pods = [
        pod
        for pod in history.whole.of("Pod")
        if (pod.valid_from_ns >= one.onset_ns or pod.condition("Ready").get("status") != "True")
        and (one.node is None or pod.spec.get("nodeName") == one.node)
    ]
    services = tuple(sorted({join.of_pod[pod.uid] for pod in pods}))
    name = f"kubelet of {one.node}" if one.node else one.component
    command = _COMMANDS.get(one.component, _PODS).format(node=one.node, component=one.component)
    return Finding(
        "control plane",
        found.name if node else found.key,
        "node" if node else "object",
        found,
        services,
        one.onset_ns,
        f"{name} {one.text}",
        command,
        _CONTROL_PLANE_NATS,
        one.onset_ns < history.window.start_ns,
    )


def _component(name: str, since_ns: int) -> Object:
    """Return a component as an object: many clusters run it where no object of theirs shows it."""
    nothing = dict.fromkeys(("namespace", "owner_uid", "labels", "spec", "status", "spec_digest", "resource_version"))
    held = {"kind": "Component", "uid": f"Component/{name}", "name": name, "created_ns": None}
    return Object(nothing | held | {"valid_from_ns": since_ns, "valid_to_ns": None})
