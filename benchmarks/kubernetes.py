"""Kubernetes at size: objects to rows, rows to the store, store to the graph of all layers, and its causes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from typing import Any

from .measure import measure

DESCRIPTION = "a cluster's objects to rows, store, layers and causes: seconds and memory"
_NOW_NS = 1_795_528_800 * 10**9
_STAMP = "2026-11-24T13:00:00Z"


def run(pods: int = 5_000, services: int = 500, nodes: int = 200) -> dict[str, Any]:
    """Measure a cluster of ``pods`` pods of ``services`` deployments, each with a Service and a ConfigMap."""
    done = measure(snapshot, pods=pods, services=services, nodes=nodes)
    return {
        "pods": pods,
        "services": services,
        **done.result,
        "cpu_seconds": done.cpu_seconds,
        "peak_rss_bytes": done.peak_rss_bytes,
    }


def snapshot(pods: int, services: int, nodes: int) -> dict[str, Any]:
    """Return the figures of each step, wall clock seconds."""
    from hypocenter.analysis.evidence.kubernetes_causes import find_causes
    from hypocenter.graph.kubernetes import History
    from hypocenter.graph.kubernetes_services import ServiceJoin, Speakers
    from hypocenter.tracer.kubernetes.rows import object_row, to_batch
    from hypocenter.tracer.privacy import Privacy
    from hypocenter.tracer.store import Store
    from hypocenter.tracer.window import Window

    figures: dict[str, Any] = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        figures[f"{name}_s"] = time.perf_counter() - clock
        clock = time.perf_counter()

    rows = [object_row(one, "benchmark", _NOW_NS) for one in _objects(pods, services, nodes)]
    lap("objects_to_rows")
    batch = Privacy().apply(to_batch(rows, []))
    figures["objects"] = batch.rows
    lap("privacy")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"{folder}/store", create=True)
        store.append(batch)
        del rows, batch
        lap("append")
        history = History.read(store, Window(_NOW_NS - 3600 * 10**9, _NOW_NS + 1))
        lap("read")
    cluster = history.at(_NOW_NS)
    figures["edges"] = len(cluster.edges)
    lap("layers")
    join = ServiceJoin(cluster, Speakers({}, {}, frozenset()))
    figures["joined"] = len({*join.of_pod.values()})
    lap("services")
    figures["findings"] = len(find_causes(history))
    lap("causes")
    return figures


def _objects(pods: int, services: int, nodes: int) -> Iterator[dict[str, Any]]:
    for number in range(nodes):
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": _STAMP}
        yield _one("Node", f"node-{number}", None, status={"conditions": [ready], "capacity": {"cpu": "16"}})
    for number in range(services):
        name, space = f"service-{number}", f"team-{number % 20}"
        labels = {"app": name, "app.kubernetes.io/name": name}
        own = list(range(number, pods, services))
        volume = {"name": "config", "configMap": {"name": name}}
        app = {"name": "app", "image": f"registry.test/{name}:1", "ports": [{"name": "http", "containerPort": 8080}]}
        spec = {"containers": [app | {"env": [{"name": "MODE", "value": "fast"}]}], "volumes": [volume]}
        template = {"metadata": {"labels": labels}, "spec": spec}
        wanted = {"replicas": len(own), "selector": {"matchLabels": {"app": name}}, "template": template}
        made = _one("Deployment", name, space, labels=labels, spec=wanted, status={"readyReplicas": len(own)})
        replicas = _one("ReplicaSet", f"{name}-7d4b9c6f5d", space, owner=made, labels=labels, spec=wanted)
        yield from (made, replicas, _one("ConfigMap", name, space, data={"file": "key=value\n" * 20}))
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        service = _one("Service", name, space, spec={"selector": {"app": name}, "ports": ports})
        yield service
        endpoints = []
        for pod in own:
            place = f"node-{pod % nodes}"
            state = {"name": "app", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": _STAMP}}}
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": _STAMP}
            status = {"phase": "Running", "conditions": [ready], "containerStatuses": [state], "podIP": "10.0.0.1"}
            one = _one("Pod", f"{name}-7d4b9c6f5d-{pod}", space, owner=replicas, labels=labels, status=status)
            one["spec"] = spec | {"nodeName": place}
            yield one
            target = {"kind": "Pod", "name": one["metadata"]["name"], "uid": one["metadata"]["uid"]}
            endpoints.append({"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": target})
        marks = {"kubernetes.io/service-name": name}
        yield _one("EndpointSlice", f"{name}-abcde", space, owner=service, labels=marks, endpoints=endpoints)


def _one(
    kind: str,
    name: str,
    namespace: str | None,
    *,
    owner: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    **content: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "uid": f"{kind}-{name}", "creationTimestamp": _STAMP}
    metadata |= {"labels": labels or {}, "resourceVersion": "1"} | ({"namespace": namespace} if namespace else {})
    if owner:
        held = owner["metadata"]
        metadata["ownerReferences"] = [
            {"kind": owner["kind"], "name": held["name"], "uid": held["uid"], "controller": True}
        ]
    return {"kind": kind, "metadata": metadata, **content}
