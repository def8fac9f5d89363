"""A small healthy cluster: web and cart behind an Ingress, with everything that belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kubernetes_objects import (
    Manifest,
    at,
    deployment,
    endpoint_slice,
    manifest,
    node,
    pod,
    replica_set,
    service,
    stamp,
)

from hypocenter.graph.kubernetes import History
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.kubernetes.rows import event_row, object_row, to_batch
from hypocenter.tracer.kubernetes.versions import order
from hypocenter.tracer.window import Window

WINDOW = Window(at(-2700), at(900))
Snapshot = dict[str, Manifest]


def shop() -> Snapshot:
    """Return the objects by kind/name."""
    found: list[Manifest] = [
        manifest("Namespace", "shop", namespace=None, status={"phase": "Active"}),
        node("node-1"),
        node("node-2"),
        manifest("StorageClass", "fast", namespace=None, provisioner="csi.test", volumeBindingMode="Immediate"),
        manifest("IngressClass", "nginx", namespace=None, spec={"controller": "k8s.io/ingress-nginx"}),
        manifest("ConfigMap", "cart-config", data={"timeout": "5s"}),
        manifest("Secret", "cart-db", type="Opaque"),
        manifest("Secret", "shop-tls", type="kubernetes.io/tls"),
        manifest(
            "PersistentVolume",
            "pv-1",
            namespace=None,
            spec={"capacity": {"storage": "1Gi"}, "storageClassName": "fast", "csi": {"driver": "csi.test"}},
            status={"phase": "Bound"},
        ),
        manifest(
            "PersistentVolumeClaim",
            "cart-data",
            spec={"volumeName": "pv-1", "storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
            status={"phase": "Bound"},
        ),
    ]
    volumes = [
        {"name": "config", "configMap": {"name": "cart-config"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "cart-data"}},
    ]
    env = [{"name": "DB", "valueFrom": {"secretKeyRef": {"name": "cart-db", "key": "url"}}}]
    for name, place, more in (("web", "node-1", {}), ("cart", "node-2", {"volumes": volumes})):
        made = deployment(name)
        app = made["spec"]["template"]["spec"]
        app |= more
        if name == "cart":
            app["containers"][0]["env"] = env
        replicas = replica_set(made)
        one = pod(f"{name}-7d4b9c6f5d-x2x9z", app=name, node=place, owner=replicas, spec={**app})
        front = service(name)
        found += [made, replicas, one, front, endpoint_slice(front, [one])]
    found += [
        manifest(
            "Ingress",
            "shop",
            spec={
                "ingressClassName": "nginx",
                "tls": [{"hosts": ["shop.test"], "secretName": "shop-tls"}],
                "rules": [
                    {
                        "host": "shop.test",
                        "http": {
                            "paths": [{"path": "/", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]
                        },
                    }
                ],
            },
        ),
        manifest(
            "HorizontalPodAutoscaler",
            "cart",
            spec={"scaleTargetRef": {"kind": "Deployment", "name": "cart"}, "minReplicas": 1, "maxReplicas": 3},
            status={
                "currentReplicas": 1,
                "desiredReplicas": 1,
                "conditions": [
                    {"type": "ScalingActive", "status": "True", "lastTransitionTime": stamp(-3600)},
                    {"type": "ScalingLimited", "status": "False", "lastTransitionTime": stamp(-3600)},
                ],
            },
        ),
        manifest("PodDisruptionBudget", "cart", spec={"selector": {"matchLabels": {"app": "cart"}}}, status={}),
        manifest(
            "ResourceQuota",
            "limits",
            spec={"hard": {"pods": "10"}},
            status={"hard": {"pods": "10"}, "used": {"pods": "2"}},
        ),
        manifest("NetworkPolicy", "cart", spec={"podSelector": {"matchLabels": {"app": "cart"}}, "ingress": [{}]}),
        manifest(
            "CronJob",
            "report",
            spec={"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}},
            status={"lastScheduleTime": stamp(-60), "lastSuccessfulTime": stamp(-50)},
        ),
    ]
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in found}


def rows(snapshots: Iterable[tuple[float, Snapshot]], events: Iterable[Manifest] = ()) -> Batch:
    """Return the tables of a cluster seen at some moments; what a later snapshot lacks was deleted then."""
    objects: list[dict[str, Any]] = []
    before: Snapshot = {}
    written: dict[str, str] = {}
    for seconds, snapshot in snapshots:
        for key in before.keys() - snapshot.keys():
            gone = object_row(before[key], "test", at(seconds))
            objects.append(gone | {"valid_to_ns": at(seconds)})
        for key, one in snapshot.items():
            if before.get(key) != one:
                written[key] = f"{seconds}"
            seen = one["metadata"] | {"resourceVersion": written[key]}
            objects.append(object_row(one | {"metadata": seen}, "test", at(seconds)))
        before = snapshot
    return to_batch(objects, [event_row(e, "test") for e in events])


def history(snapshots: Iterable[tuple[float, Snapshot]], events: Iterable[Manifest] = ()) -> History:
    """Return the history of these snapshots and events in WINDOW."""
    batch = rows(snapshots, events)
    return History.of(order(batch.table("objects"), batch.table("events")), WINDOW, batch.table("events"))


def changed(snapshot: Snapshot, *edits: Callable[[Snapshot], None]) -> Snapshot:
    """Return a copy of the objects with edits."""
    import copy

    found = copy.deepcopy(snapshot)
    for edit in edits:
        edit(found)
    return found
