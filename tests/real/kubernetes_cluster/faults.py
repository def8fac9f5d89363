"""Faults put into a shop through the API server alone, each with what the evidence must name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from control_plane import ControlPlane
from metrics_api import MetricsApi
from shop import ANOTHER, claim, node_of, policy
from workloads import job

Inject = Callable[[ControlPlane, MetricsApi, str], Any]


@dataclass(frozen=True)
class Fault:
    """``rule`` finds it, the entity begins with ``entity`` ({ns} is the namespace, {node} the shop's node).

    ``felt`` is the service that stops or slows with it, None where no call notices; ``ranked`` is how the first of the
    ranking begins, where that is not ``entity``: what was edited, when its pods show the finding. ``within_s`` is how
    long the cluster itself takes to come into the bad state; ``apart`` asks for a kubelet of its own.
    """

    name: str
    rule: str
    entity: str
    inject: Inject
    felt: str | None = None
    ranked: str | None = None
    within_s: float = 0.0
    apart: bool = False


def _image(tag: str) -> Inject:
    return lambda k, m, ns: k.kubectl("set", "image", "deployment/api", f"main=shop/api:{tag}", "-n", ns)


def _patch(kind: str, name: str, change: Any, namespace: bool = True) -> Inject:
    def inject(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
        where = ["-n", ns] if namespace else []
        text = json.dumps(change).replace("{ns}", ns)
        plane.kubectl("patch", kind, name.format(ns=ns, node=node_of(ns)), *where, "--type=merge", "-p", text)

    return inject


def _pod_spec(change: Any) -> Any:
    return {"spec": {"template": {"spec": change}}}


def _service(change: Any) -> Inject:
    return _patch("service", "api", {"spec": change})


def _api(change: Any) -> Inject:
    return _patch("deployment", "api", {"spec": change})


_slower = _patch("configmap", "settings", {"data": {"delay_ms": "400"}})


def _closed(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    plane.apply(policy("closed", ns, {"app": "api"}, ["nobody"]))


def _without_service(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    plane.kubectl("delete", "service", "web", "-n", ns)


def _quota(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    _patch("resourcequota", "limits", {"spec": {"hard": {"pods": "1"}}})(plane, metrics, ns)
    plane.kubectl("delete", "pod", "-l", "app=api", "-n", ns, "--wait=false")


def _missing_class(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    plane.apply(claim("fast", ns, storageClassName="absent"))
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "fast"}}]
    _patch("deployment", "db", _pod_spec({"volumes": volumes}))(plane, metrics, ns)


def _evict(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    pod = plane.get("pods", "-n", ns, "-l", "app=api")["items"][0]["metadata"]["name"]
    plane.create_raw(f"/api/v1/namespaces/{ns}/pods/{pod}/eviction", _eviction(ns, pod))


def _eviction(ns: str, pod: str) -> Any:
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": ns}}


def _finaliser(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    _patch("service", "web", {"metadata": {"finalizers": ["example.org/never"]}})(plane, metrics, ns)
    plane.kubectl("delete", "service", "web", "-n", ns, "--wait=false")


def _not_ready(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    """As a kubelet tells that its runtime is gone; kwok leaves nodes with this label alone."""
    plane.kubectl("label", "node", node_of(ns), "kubelet=broken")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "runtime is down"}
    change = {"status": {"conditions": [condition | {"lastTransitionTime": now, "lastHeartbeatTime": now}]}}
    plane.kubectl("patch", "node", node_of(ns), "--subresource=status", "-p", json.dumps(change))


def _silent(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    """As a node that loses its power: nobody plays it any more, and nobody renews its lease."""
    plane.kubectl("label", "node", node_of(ns), "kubelet=broken")
    plane.stop_kubelets(ns)


def _drain(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    """Cordon the node and ask the queue's pod to go, which its budget refuses."""
    plane.kubectl("cordon", node_of(ns))
    path = f"/api/v1/namespaces/{ns}/pods/queue-0/eviction"
    with pytest.raises(AssertionError, match="disruption budget"):
        plane.create_raw(path, _eviction(ns, "queue-0"))


def _at_most(plane: ControlPlane, metrics: MetricsApi, ns: str) -> None:
    metrics.millicores[ns] = 900


FAULTS = [
    Fault("bad-image", "image pull", "api-", _image("absent"), "api", "Deployment/{ns}/api", within_s=3.0),
    Fault("broken-version", "change", "Deployment/{ns}/api", _image("crash"), "api"),
    Fault("memory", "out of memory", "api-", _image("oom"), "api", "Deployment/{ns}/api", within_s=3.0),
    Fault("probe", "probe failing", "api-", _image("unready"), "api", "Deployment/{ns}/api", within_s=3.0),
    Fault(
        "selector",
        "no endpoints",
        "Service/{ns}/api",
        _patch("service", "api", {"spec": {"selector": {"app": "apl"}}}),
        "api",
    ),
    Fault(
        "target-port",
        "wrong port",
        "Service/{ns}/api",
        _service({"ports": [{"name": "http", "port": 80, "targetPort": 9999}]}),
        "api",
    ),
    Fault("storage-class", "claim pending", "PersistentVolumeClaim/{ns}/fast", _missing_class, "db"),
    Fault("quota", "pods refused", "ResourceQuota/{ns}/limits", _quota, "api"),
    Fault(
        "configuration",
        "change",
        "ConfigMap/{ns}/settings",
        _patch("configmap", "settings", {"data": {"delay_ms": "400"}}),
        "api",
    ),
    Fault(
        "secret",
        "change",
        "Secret/{ns}/password",
        _patch("secret", "password", {"stringData": {"key": ANOTHER}}),
        "api",
    ),
    Fault("node-not-ready", "node not ready", "{node}", _not_ready, "web"),
    Fault("node-lost", "node not ready", "{node}", _silent, "web", within_s=60.0, apart=True),
    Fault("budget", "disruption budget", "PodDisruptionBudget/{ns}/queue", _drain),
    Fault(
        "taint",
        "taint",
        "{node}",
        _patch("node", "{node}", {"spec": {"taints": [{"key": "repair", "effect": "NoExecute"}]}}, namespace=False),
        "web",
    ),
    Fault("job", "job failed", "Job/{ns}/broken", lambda k, m, ns: k.apply(job("broken", ns, image="shop/job:crash"))),
    Fault("suspended", "schedule", "CronJob/{ns}/report", _patch("cronjob", "report", {"spec": {"suspend": True}})),
    Fault(
        "unschedulable",
        "unschedulable",
        "api-",
        _api(_pod_spec({"nodeSelector": {"shop": "nowhere"}})["spec"]),
        "api",
        "Deployment/{ns}/api",
    ),
    Fault(
        "scaled-to-zero", "change", "Deployment/{ns}/api", _patch("deployment", "api", {"spec": {"replicas": 0}}), "api"
    ),
    Fault("autoscaler", "autoscaler", "HorizontalPodAutoscaler/{ns}/web", _at_most, within_s=40.0),
    Fault(
        "policy",
        "network policy",
        "NetworkPolicy/{ns}/closed",
        lambda k, m, ns: k.apply(policy("closed", ns, {"app": "api"}, ["nobody"])),
        "api",
    ),
    Fault("eviction", "evicted", "api-", _evict),
    Fault("finaliser", "stuck in deletion", "Service/{ns}/web", _finaliser),
    Fault(
        "entry",
        "broken reference",
        "Service/{ns}/web",
        lambda k, m, ns: k.kubectl("delete", "service", "web", "-n", ns),
        "entry",
    ),
]
