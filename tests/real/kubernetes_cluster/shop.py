"""A shop with an object of every kind, one in each namespace, on a node of its own so that shops do not meet."""

from __future__ import annotations

from typing import Any

from control_plane import ControlPlane
from workloads import Object, deployment, job, named, service, template

SERVICES = ("web", "api", "db")
PASSWORD, ANOTHER = "c4nary-of-a-password", "another-c4nary"


def node_of(namespace: str) -> str:
    """Return the name of the node on which the pods of a shop run."""
    return f"node-{namespace}"


def shop(plane: ControlPlane, namespace: str) -> list[Object]:
    """Return the objects of a healthy shop: web calls api, api calls db."""
    here = {"nodeSelector": {"shop": namespace}}
    objects = [
        deployment("web", namespace, **here),
        deployment("api", namespace, **here, volumes=[_mounted("settings"), _secret("password")]),
        deployment("db", namespace, **here, **_claims("data")),
        *(service(name, namespace) for name in SERVICES),
        service("headless", namespace, selects="queue"),
        named("v1", "Service", "outside", namespace, spec={"type": "ExternalName", "externalName": "example.org"}),
        named("v1", "ConfigMap", "settings", namespace, data={"delay_ms": "0"}),
        named("v1", "Secret", "password", namespace, stringData={"key": PASSWORD}),
        _volume(namespace),
        claim("data", namespace, storageClassName="static"),
        job("migrate", namespace),
        named(
            "batch/v1",
            "CronJob",
            "report",
            namespace,
            spec={"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job("report", namespace)["spec"]}},
        ),
        _set("StatefulSet", "queue", namespace, serviceName="headless", replicas=1),
        _set("DaemonSet", "agent", namespace),
        _ingress(namespace),
        _autoscaler(namespace),
        named(
            "policy/v1",
            "PodDisruptionBudget",
            "queue",
            namespace,
            spec={"minAvailable": 1, "selector": {"matchLabels": {"app": "queue"}}},
        ),
        named("v1", "ResourceQuota", "limits", namespace, spec={"hard": {"pods": "20", "requests.cpu": "4"}}),
        named(
            "v1",
            "LimitRange",
            "defaults",
            namespace,
            spec={"limits": [{"type": "Container", "defaultRequest": {"cpu": "50m", "memory": "16Mi"}}]},
        ),
        policy("allowed", namespace, {"app": "db"}, ["api"]),
    ]
    for found in objects[:3]:
        # One replica that is replaced, not doubled, so that a broken version is felt.
        found["spec"]["strategy"] = {"type": "Recreate"}
    return objects


def shared() -> list[Object]:
    """Return what every shop uses."""
    return [
        named("storage.k8s.io/v1", "StorageClass", "static", provisioner="kubernetes.io/no-provisioner"),
        named("networking.k8s.io/v1", "IngressClass", "public", spec={"controller": "example.org/ingress"}),
    ]


def claim(name: str, namespace: str, **spec: Any) -> Object:
    """Return a claim for a gibibyte."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return named("v1", "PersistentVolumeClaim", name, namespace, spec=spec)


def policy(name: str, namespace: str, labels: dict[str, str], callers: list[str]) -> Object:
    """Return a policy that admits only some callers to the pods with ``labels``."""
    admitted = [{"podSelector": {"matchLabels": {"app": caller}}} for caller in callers]
    rules = [{"from": admitted}] if admitted else []
    spec = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"], "ingress": rules}
    return named("networking.k8s.io/v1", "NetworkPolicy", name, namespace, spec=spec)


def _mounted(name: str) -> dict[str, Any]:
    return {"name": name, "configMap": {"name": name}}


def _secret(name: str) -> dict[str, Any]:
    return {"name": name, "secret": {"secretName": name}}


def _claims(name: str) -> dict[str, Any]:
    return {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]}


def _volume(namespace: str) -> Object:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "static",
        "claimRef": {"namespace": namespace, "name": "data"},
        "hostPath": {"path": "/data"},
    }
    return named("v1", "PersistentVolume", f"volume-{namespace}", spec=spec)


def _set(kind: str, name: str, namespace: str, **spec: Any) -> Object:
    pod = template(name, f"shop/{name}:1", nodeSelector={"shop": namespace})
    return named(
        "apps/v1", kind, name, namespace, spec={"selector": {"matchLabels": {"app": name}}, "template": pod, **spec}
    )


def _ingress(namespace: str) -> Object:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    rules = [{"host": f"{namespace}.example.org", "http": {"paths": paths}}]
    return named(
        "networking.k8s.io/v1", "Ingress", "entry", namespace, spec={"ingressClassName": "public", "rules": rules}
    )


def _autoscaler(namespace: str) -> Object:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2, "metrics": [cpu]}
    return named("autoscaling/v2", "HorizontalPodAutoscaler", "web", namespace, spec=spec)
