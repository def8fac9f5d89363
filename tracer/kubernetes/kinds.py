"""The kinds of objects that are collected, and where the API server serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind: its API group with version (``v1`` is the core group) and the plural in its path.

    ``metadata_only`` kinds are asked for without their content, so that it never leaves the API server. ``optional``
    kinds belong to an API that many clusters have not installed.
    """

    name: str
    version: str
    plural: str
    metadata_only: bool = False
    optional: bool = False

    @property
    def path(self) -> str:
        """The path of all objects of the kind, in all namespaces."""
        root = "/api" if "/" not in self.version else "/apis"
        return f"{root}/{self.version}/{self.plural}"

    def path_in(self, namespace: str) -> str:
        """Return the path of the objects of one namespace."""
        root = "/api" if "/" not in self.version else "/apis"
        return f"{root}/{self.version}/namespaces/{namespace}/{self.plural}"


_GATEWAY: Final = "gateway.networking.k8s.io/v1"
KINDS: Final[tuple[Kind, ...]] = (
    Kind("Namespace", "v1", "namespaces"),
    Kind("Node", "v1", "nodes"),
    Kind("Pod", "v1", "pods"),
    Kind("Service", "v1", "services"),
    Kind("ConfigMap", "v1", "configmaps"),
    Kind("Secret", "v1", "secrets", metadata_only=True),
    Kind("PersistentVolume", "v1", "persistentvolumes"),
    Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims"),
    Kind("ResourceQuota", "v1", "resourcequotas"),
    Kind("LimitRange", "v1", "limitranges"),
    Kind("Event", "v1", "events"),
    Kind("Deployment", "apps/v1", "deployments"),
    Kind("ReplicaSet", "apps/v1", "replicasets"),
    Kind("StatefulSet", "apps/v1", "statefulsets"),
    Kind("DaemonSet", "apps/v1", "daemonsets"),
    Kind("Job", "batch/v1", "jobs"),
    Kind("CronJob", "batch/v1", "cronjobs"),
    Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices"),
    Kind("Ingress", "networking.k8s.io/v1", "ingresses"),
    Kind("IngressClass", "networking.k8s.io/v1", "ingressclasses"),
    Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies"),
    Kind("StorageClass", "storage.k8s.io/v1", "storageclasses"),
    Kind("VolumeAttachment", "storage.k8s.io/v1", "volumeattachments"),
    Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers"),
    Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets"),
    Kind("GatewayClass", _GATEWAY, "gatewayclasses", optional=True),
    Kind("Gateway", _GATEWAY, "gateways", optional=True),
    Kind("HTTPRoute", _GATEWAY, "httproutes", optional=True),
    Kind("GRPCRoute", _GATEWAY, "grpcroutes", optional=True),
)
BY_NAME: Final = {kind.name: kind for kind in KINDS}
# Kinds that belong to no namespace; a reference to them carries none.
CLUSTER_WIDE: Final = frozenset(
    {
        *("Namespace", "Node", "PersistentVolume", "StorageClass", "VolumeAttachment", "IngressClass", "GatewayClass"),
    }
)
