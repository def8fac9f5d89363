"""Prometheus labels to the identity of a series.

The service is the first of: ``service_name``, ``service``, a ``job`` of OpenTelemetry's form ``namespace/name``, the
recommended Kubernetes labels, the owning workload, the pod's deployment, a plain ``job``, the container. A plain
``job`` comes late because it often names what scrapes (kubelet, cadvisor), not what is measured. Of the edge metrics
that service graphs and Istio write, the caller is the service and the callee the peer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import pyarrow as pa

from .workload import deployment

_APPLICATION = (
    "resource_opentelemetry_io_service_name",
    "app_kubernetes_io_instance",
    "app_kubernetes_io_name",
    "label_app_kubernetes_io_instance",
    "label_app_kubernetes_io_name",
)
_OWNER = ("deployment", "replicaset", "statefulset", "daemonset", "cronjob", "job_name")
_POD = ("pod", "k8s_pod_name", "pod_name", "exported_pod")
_NODE = ("node", "k8s_node_name", "node_name", "kubernetes_node")
# Prefix of a metric's name -> labels of caller and callee.
_EDGES = {"traces_service_graph_": ("client", "server"), "istio_": ("source_workload", "destination_workload")}


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a series describes; None where the labels do not say."""

    service: str | None
    pod: str | None
    node: str | None
    peer: str | None


def identity_of(name: str, labels: Mapping[str, str]) -> Identity:
    """Return whom the series ``name`` with ``labels`` describes.

    >>> identity_of("up", {"job": "shop/cart", "pod": "cart-579f59597d-wc2lz"})
    Identity(service='cart', pod='cart-579f59597d-wc2lz', node=None, peer=None)
    """
    pod, node = _first(labels, _POD), _first(labels, _NODE)
    for prefix, (caller, callee) in _EDGES.items():
        if name.startswith(prefix) and labels.get(caller) and labels.get(callee):
            return Identity(labels[caller], pod, node, labels[callee])
    job = labels.get("job") or None
    service = _first(labels, ("service_name", "service"))
    if service is None and job is not None and "/" in job:
        service = job.rpartition("/")[2] or None
    service = service or _first(labels, _APPLICATION) or _first(labels, _OWNER)
    if service is None and pod is not None:
        service = deployment(pa.array([pod]))[0].as_py()
    return Identity(service or job or _first(labels, ("container",)), pod, node, None)


def series_id_of(name: str, labels: Mapping[str, str]) -> str:
    """Return the digest that identifies a series: its name and its labels in any order."""
    return hashlib.blake2b(orjson.dumps([name, sorted(labels.items())]), digest_size=16).hexdigest()


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None)
