"""Kubernetes objects as the API server writes them, each with the parts that matter and a fixed clock."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

SECOND = 10**9
NOW_NS = 1_795_528_800 * SECOND  # 2026-11-24T14:00:00Z

Manifest = dict[str, Any]
_VERSIONS = {
    **dict.fromkeys(("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"), "apps/v1"),
    **dict.fromkeys(("Job", "CronJob"), "batch/v1"),
    **dict.fromkeys(("Ingress", "IngressClass", "NetworkPolicy"), "networking.k8s.io/v1"),
    **dict.fromkeys(("StorageClass", "VolumeAttachment"), "storage.k8s.io/v1"),
    "EndpointSlice": "discovery.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
}


def stamp(seconds: float = 0) -> str:
    """Return the time ``seconds`` after NOW_NS as the API server writes it."""
    return datetime.fromtimestamp(NOW_NS / SECOND + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def at(seconds: float) -> int:
    """Return the nanoseconds of ``seconds`` after NOW_NS."""
    return NOW_NS + round(seconds * SECOND)


def manifest(
    kind: str,
    name: str,
    *,
    namespace: str | None = "shop",
    created: float = -86_400,
    labels: dict[str, str] | None = None,
    owner: Manifest | None = None,
    meta: Manifest | None = None,
    **content: Any,
) -> Manifest:
    """Return an object of any kind; ``content`` are its parts beside the metadata."""
    metadata: Manifest = {
        "name": name,
        "uid": f"uid-{kind.lower()}-{name}",
        "creationTimestamp": stamp(created),
        "resourceVersion": "1",
        "labels": labels or {},
    }
    if namespace is not None:
        metadata["namespace"] = namespace
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "controller": True,
            }
        ]
    return {"apiVersion": _VERSIONS.get(kind, "v1"), "kind": kind, "metadata": metadata | (meta or {}), **content}


def container(name: str = "app", image: str = "registry.test/app:1", **more: Any) -> Manifest:
    return {"name": name, "image": image, "ports": [{"name": "http", "containerPort": 8080}]} | more


def condition(kind: str, status: bool, since: float, reason: str | None = None, message: str = "") -> Manifest:
    found = {"type": kind, "status": str(status), "lastTransitionTime": stamp(since)}
    return found | ({"reason": reason, "message": message} if reason else {})


def pod(
    name: str = "cart-7d4b9c6f5d-x2x9z",
    *,
    app: str = "cart",
    node: str | None = "node-1",
    phase: str = "Running",
    started: float = -3600,
    ready: bool = True,
    ready_since: float | None = None,
    containers: list[Manifest] | None = None,
    statuses: list[Manifest] | None = None,
    conditions: list[Manifest] | None = None,
    spec: Manifest | None = None,
    status: Manifest | None = None,
    **more: Any,
) -> Manifest:
    """Return a pod; by default it runs and is ready on node-1."""
    since = started + 5 if ready_since is None else ready_since
    running = {
        "name": "app",
        "ready": ready,
        "restartCount": 0,
        "state": {"running": {"startedAt": stamp(started + 3)}},
    }
    found = [
        condition("PodScheduled", True, started),
        condition("PodReadyToStartContainers", True, started + 1),
        condition("Initialized", True, started + 1),
        condition("ContainersReady", ready, since),
        condition("Ready", ready, since),
    ]
    wanted = {"containers": containers or [container()], "restartPolicy": "Always"} | (spec or {})
    return manifest(
        "Pod",
        name,
        created=started,
        labels={"app": app, "app.kubernetes.io/name": app},
        spec=wanted | ({"nodeName": node} if node else {}),
        status={
            "phase": phase,
            "podIP": "10.0.0.7",
            "startTime": stamp(started),
            "qosClass": "Burstable",
            "conditions": found if conditions is None else conditions,
            "containerStatuses": [running] if statuses is None else statuses,
        }
        | (status or {}),
        **more,
    )


def deployment(name: str = "cart", *, replicas: int = 1, image: str = "registry.test/app:1", **more: Any) -> Manifest:
    template = {
        "metadata": {"labels": {"app": name, "app.kubernetes.io/name": name}},
        "spec": {"containers": [container(image=image)]},
    }
    status = {"replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas, "observedGeneration": 1}
    status["conditions"] = [condition("Available", True, -3600), condition("Progressing", True, -3600)]
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return manifest("Deployment", name, labels={"app": name}, **({"spec": spec, "status": status} | more))


def replica_set(
    owner: Manifest, suffix: str = "7d4b9c6f5d", *, revision: str = "1", created: float = -3600
) -> Manifest:
    spec = copy.deepcopy(owner["spec"])
    found = manifest(
        "ReplicaSet",
        f"{owner['metadata']['name']}-{suffix}",
        owner=owner,
        created=created,
        labels=spec["template"]["metadata"]["labels"],
        spec=spec,
        status={"replicas": spec["replicas"], "readyReplicas": spec["replicas"]},
    )
    found["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": revision}
    return found


def service(name: str = "cart", *, app: str | None = None, port: int = 80, target: Any = 8080, **more: Any) -> Manifest:
    spec = {
        "type": "ClusterIP",
        "clusterIP": "10.96.0.10",
        "ports": [{"name": "http", "port": port, "targetPort": target}],
    }
    spec["selector"] = {"app": app or name}
    return manifest("Service", name, **({"spec": spec} | more))


def endpoint_slice(owner: Manifest, pods: list[Manifest], *, ready: bool = True) -> Manifest:
    endpoints = [
        {
            "addresses": [p["status"].get("podIP", "10.0.0.7")],
            "conditions": {"ready": ready, "serving": ready, "terminating": False},
            "nodeName": p["spec"].get("nodeName"),
            "targetRef": {"kind": "Pod", "name": p["metadata"]["name"], "uid": p["metadata"]["uid"]},
        }
        for p in pods
    ]
    name = owner["metadata"]["name"]
    return manifest(
        "EndpointSlice",
        f"{name}-abcde",
        owner=owner,
        labels={"kubernetes.io/service-name": name},
        endpoints=endpoints,
        ports=[{"name": "http", "port": 8080}],
    )


def node(name: str = "node-1", *, ready: bool = True, since: float = -86_400, **more: Any) -> Manifest:
    status = {
        "conditions": [
            condition("Ready", ready, since, "KubeletReady" if ready else "KubeletNotReady", "kubelet"),
            *(condition(kind, False, -86_400) for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")),
        ],
        "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110"},
        "allocatable": {"cpu": "4", "memory": "15Gi", "pods": "110"},
    }
    return manifest("Node", name, namespace=None, **({"spec": {}, "status": status} | more))


def event(
    about: Manifest, reason: str, message: str = "", *, seconds: float = 0, warning: bool = True, **more: Any
) -> Manifest:
    """Return an Event about an object."""
    metadata = about["metadata"]
    name = f"{metadata['name']}.{reason.lower()}.{round(seconds)}"
    reference = {
        "kind": about["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "namespace": metadata.get("namespace"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": metadata.get("namespace") or "default", "uid": f"uid-event-{name}"},
        "involvedObject": reference,
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "count": 1,
        "firstTimestamp": stamp(seconds),
        "lastTimestamp": stamp(seconds),
        "source": {"component": "test"},
    } | more
