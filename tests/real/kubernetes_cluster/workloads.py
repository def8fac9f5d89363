"""Small builders of Kubernetes objects, and what their pods say."""

from __future__ import annotations

from typing import Any

from control_plane import ControlPlane

Object = dict[str, Any]


def named(api: str, kind: str, name: str, namespace: str | None = None, **content: Any) -> Object:
    """Return an object of any kind; ``content`` stands beside its metadata."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def kind_definition(group: str, kind: str, plural: str, scope: str = "Namespaced", **approved: str) -> Object:
    """Return the definition of a kind whose ``spec`` may hold anything, as an operator brings it in full."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": free}}}
    found = named(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        f"{plural}.{group}",
        spec={
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    )
    found["metadata"]["annotations"] = approved
    return found


def node(name: str, labels: dict[str, str] | None = None, played_by: str = "fake") -> Object:
    """Return a node that kwok plays (`ControlPlane.start_kubelets`)."""
    resources = {"cpu": "8", "memory": "32Gi", "pods": "500"}
    found = named("v1", "Node", name, status={"allocatable": resources, "capacity": resources})
    found["metadata"]["labels"] = {"kubernetes.io/hostname": name, **(labels or {})}
    found["metadata"]["annotations"] = {"kwok.x-k8s.io/node": played_by}
    return found


def template(name: str, image: str, **spec: Any) -> Object:
    """Return a pod template labelled ``app``."""
    container = {
        "name": "main",
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        **spec.pop("container", {}),
    }
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **spec}}


def deployment(name: str, namespace: str, *, image: str = "shop/web:1", replicas: int = 1, **spec: Any) -> Object:
    """Return a Deployment whose pods carry the label ``app``; ``spec`` goes to the pod."""
    content = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": template(name, image, **spec),
    }
    return named("apps/v1", "Deployment", name, namespace, spec=content)


def job(name: str, namespace: str, *, image: str = "shop/job:1") -> Object:
    """Return a Job that is tried once."""
    content = {"backoffLimit": 0, "template": template(name, image, restartPolicy="Never")}
    return named("batch/v1", "Job", name, namespace, spec=content)


def service(name: str, namespace: str, *, selects: str | None = None, port: int = 80, target: Any = "http") -> Object:
    """Return a Service of the pods labelled ``app``."""
    content = {"selector": {"app": selects or name}, "ports": [{"name": "http", "port": port, "targetPort": target}]}
    return named("v1", "Service", name, namespace, spec=content)


def pods(plane: ControlPlane, namespace: str, app: str | None = None) -> list[Object]:
    """Return the pods of a namespace, or of one ``app`` in it."""
    chosen = {"labelSelector": f"app={app}"} if app else {}
    found: list[Object] = plane.read(f"/api/v1/namespaces/{namespace}/pods", **chosen)["items"]
    return found


def reason(pod: Object) -> str:
    """Return why a pod does not serve, ``ready`` when it does."""
    for container in pod["status"].get("containerStatuses", ()):
        if (ended := container.get("lastState", {}).get("terminated")) and ended["reason"] != "Error":
            return str(ended["reason"])
        if waiting := container["state"].get("waiting"):
            return str(waiting["reason"])
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", ())}
    if "Ready" not in conditions:
        return str(pod["status"]["phase"])
    return "ready" if conditions["Ready"] == "True" else "unready"
