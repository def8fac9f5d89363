"""The layers of a cluster: who owns, selects, routes to, mounts, refers to and is placed on what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..tracer.kubernetes.rows import MALFORMED
from .kubernetes import Cluster
from .kubernetes_objects import Object, key_of

LAYERS: Final = ("ownership", "selection", "routing", "mounts", "references", "placement")
_SERVICE_LABEL: Final = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Edge:
    """From one object's key to another's; the target may not exist (`Cluster.by_key` tells)."""

    source: str
    target: str
    layer: str
    detail: str = ""


def edges_of(cluster: Cluster) -> tuple[list[Edge], list[str]]:
    """Return the edges of all layers, each once, in a fixed order, and the keys of objects that are malformed."""
    pods = _Pods(cluster)
    found: dict[Edge, None] = {}
    malformed = []
    for kind in sorted(cluster.by_kind):
        rule = _RULES.get(kind)
        for each in cluster.by_kind[kind]:
            try:
                edges = [*_owners(cluster, each), *(rule(each, pods) if rule else ())]
            except MALFORMED:
                malformed.append(each.key)
                continue
            found |= dict.fromkeys(edges)
    return list(found), malformed


def _owners(cluster: Cluster, found: Object) -> Iterator[Edge]:
    for owner in found.metadata.get("owners") or ():
        parent = cluster.objects.get(owner.get("uid") or "")
        named = parent.key if parent else key_of(str(owner.get("kind")), found.namespace, str(owner.get("name")))
        yield Edge(named, found.key, "ownership")


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a LabelSelector matches labels; None matches nothing, an empty one everything.

    >>> selects({"matchLabels": {"app": "cart"}}, {"app": "cart", "tier": "web"})
    True
    >>> selects({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["cart"]}]}, {"app": "cart"})
    False
    """
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or ():
        key, values = rule.get("key"), rule.get("values") or ()
        match rule.get("operator"):
            case "In":
                holds = labels.get(key) in values
            case "NotIn":
                holds = labels.get(key) not in values
            case "Exists":
                holds = key in labels
            case "DoesNotExist":
                holds = key not in labels
            case _:
                holds = False
        if not holds:
            return False
    return True


class _Pods:
    """Pods by namespace and label, so that a selector looks at few of them."""

    def __init__(self, cluster: Cluster) -> None:
        self._all: dict[str, list[Object]] = defaultdict(list)
        self._by_label: dict[tuple[str, str, str], list[Object]] = defaultdict(list)
        for pod in cluster.of("Pod"):
            self._all[pod.namespace or ""].append(pod)
            for key, value in pod.labels.items():
                self._by_label[pod.namespace or "", key, value].append(pod)

    def selected(self, namespace: str | None, selector: Mapping[str, Any] | None) -> list[Object]:
        """Return the pods of a namespace that a LabelSelector matches."""
        if selector is None:
            return []
        space = namespace or ""
        wanted = selector.get("matchLabels") or {}
        lists = [self._by_label.get((space, str(k), str(v)), []) for k, v in wanted.items()]
        some = min(lists, key=len) if lists else self._all.get(space, [])
        return [pod for pod in some if selects(selector, pod.labels)]


def _template_edges(found: Object, spec: Mapping[str, Any], *, claims: bool = True) -> Iterator[Edge]:
    """Yield what the pods of a specification mount and read their variables from."""
    seen: list[tuple[str, Any, str]] = []
    for volume in spec.get("volumes") or ():
        name = str(volume.get("name"))
        seen.append(("ConfigMap", (volume.get("configMap") or {}).get("name"), f"volume {name}"))
        seen.append(("Secret", (volume.get("secret") or {}).get("secretName"), f"volume {name}"))
        if claims:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            own = f"{found.name}-{name}" if volume.get("ephemeral") and found.kind == "Pod" else None
            seen.append(("PersistentVolumeClaim", claim or own, f"volume {name}"))
        for part in (volume.get("projected") or {}).get("sources") or ():
            seen.append(("ConfigMap", (part.get("configMap") or {}).get("name"), f"volume {name}"))
            seen.append(("Secret", (part.get("secret") or {}).get("name"), f"volume {name}"))
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for source in container.get("envFrom") or ():
            seen.append(("ConfigMap", (source.get("configMapRef") or {}).get("name"), "environment"))
            seen.append(("Secret", (source.get("secretRef") or {}).get("name"), "environment"))
        for value in (container.get("env") or {}).values():
            if isinstance(value, dict):
                seen.append(("ConfigMap", (value.get("configMapKeyRef") or {}).get("name"), "environment"))
                seen.append(("Secret", (value.get("secretKeyRef") or {}).get("name"), "environment"))
    for secret in spec.get("imagePullSecrets") or ():
        seen.append(("Secret", secret.get("name"), "image pull"))
    for kind, name, how in seen:
        if name:
            yield Edge(found.key, key_of(kind, found.namespace, str(name)), "mounts", how)


def _pod(pod: Object, pods: _Pods) -> Iterator[Edge]:
    yield from _template_edges(pod, pod.spec)
    if node := pod.spec.get("nodeName"):
        yield Edge(pod.key, key_of("Node", None, str(node)), "placement")


def _workload(found: Object, pods: _Pods) -> Iterator[Edge]:
    yield from _template_edges(found, found.template.get("spec") or {})
    if found.kind == "StatefulSet" and (name := found.spec.get("serviceName")):
        yield Edge(found.key, key_of("Service", found.namespace, str(name)), "references", "headless service")


def _service(service: Object, pods: _Pods) -> Iterator[Edge]:
    if selector := service.spec.get("selector"):
        for pod in pods.selected(service.namespace, {"matchLabels": selector}):
            yield Edge(service.key, pod.key, "selection")


def _endpoint_slice(found: Object, pods: _Pods) -> Iterator[Edge]:
    if service := found.labels.get(_SERVICE_LABEL):
        yield Edge(key_of("Service", found.namespace, service), found.key, "routing")
    for endpoint in found.spec.get("endpoints") or ():
        target = endpoint.get("targetRef") or {}
        if target.get("kind") == "Pod":
            ready = (endpoint.get("conditions") or {}).get("ready") is not False
            key = key_of("Pod", found.namespace, str(target.get("name")))
            yield Edge(found.key, key, "routing", "ready" if ready else "not ready")


def _ingress(ingress: Object, pods: _Pods) -> Iterator[Edge]:
    def backend(holder: Mapping[str, Any], where: str) -> Iterator[Edge]:
        service = holder.get("service") or {}
        if name := service.get("name"):
            port = service.get("port") or {}
            shown = port.get("name") or port.get("number") or ""
            yield Edge(ingress.key, key_of("Service", ingress.namespace, str(name)), "routing", f"{where} :{shown}")

    yield from backend(ingress.spec.get("defaultBackend") or {}, "*")
    for rule in ingress.spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            yield from backend(path.get("backend") or {}, f"{rule.get('host') or '*'}{path.get('path') or '/'}")
    for tls in ingress.spec.get("tls") or ():
        if name := tls.get("secretName"):
            yield Edge(ingress.key, key_of("Secret", ingress.namespace, str(name)), "references", "TLS certificate")
    if name := ingress.spec.get("ingressClassName"):
        yield Edge(ingress.key, key_of("IngressClass", None, str(name)), "references", "class")


def _route(route: Object, pods: _Pods) -> Iterator[Edge]:
    hosts = ",".join(route.spec.get("hostnames") or ()) or "*"
    for parent in route.spec.get("parentRefs") or ():
        if parent.get("kind", "Gateway") == "Gateway":
            gateway = key_of("Gateway", parent.get("namespace") or route.namespace, str(parent.get("name")))
            yield Edge(gateway, route.key, "routing", hosts)
    for rule in route.spec.get("rules") or ():
        paths = [str((m.get("path") or {}).get("value") or "/") for m in rule.get("matches") or ()] or ["/"]
        for backend in rule.get("backendRefs") or ():
            if backend.get("kind", "Service") == "Service":
                service = key_of("Service", backend.get("namespace") or route.namespace, str(backend.get("name")))
                yield Edge(route.key, service, "routing", f"{hosts}{paths[0]} :{backend.get('port') or ''}")


def _gateway(gateway: Object, pods: _Pods) -> Iterator[Edge]:
    if name := gateway.spec.get("gatewayClassName"):
        yield Edge(gateway.key, key_of("GatewayClass", None, str(name)), "references", "class")
    for listener in gateway.spec.get("listeners") or ():
        for reference in (listener.get("tls") or {}).get("certificateRefs") or ():
            space = reference.get("namespace") or gateway.namespace
            yield Edge(
                gateway.key, key_of("Secret", space, str(reference.get("name"))), "references", "TLS certificate"
            )


def _claim(claim: Object, pods: _Pods) -> Iterator[Edge]:
    if name := claim.spec.get("volumeName"):
        yield Edge(claim.key, key_of("PersistentVolume", None, str(name)), "mounts", "bound")
    if name := claim.spec.get("storageClassName"):
        yield Edge(claim.key, key_of("StorageClass", None, str(name)), "references", "class")


def _volume(volume: Object, pods: _Pods) -> Iterator[Edge]:
    if name := volume.spec.get("storageClassName"):
        yield Edge(volume.key, key_of("StorageClass", None, str(name)), "references", "class")


def _attachment(found: Object, pods: _Pods) -> Iterator[Edge]:
    if name := (found.spec.get("source") or {}).get("persistentVolumeName"):
        yield Edge(found.key, key_of("PersistentVolume", None, str(name)), "mounts", "attaches")
    if name := found.spec.get("nodeName"):
        yield Edge(found.key, key_of("Node", None, str(name)), "placement")


def _autoscaler(found: Object, pods: _Pods) -> Iterator[Edge]:
    target = found.spec.get("scaleTargetRef") or {}
    if target.get("name"):
        yield Edge(
            found.key, key_of(str(target.get("kind")), found.namespace, str(target["name"])), "references", "scales"
        )


def _selector(field: str) -> Callable[[Object, _Pods], Iterator[Edge]]:
    def rule(found: Object, pods: _Pods) -> Iterator[Edge]:
        for pod in pods.selected(found.namespace, found.spec.get(field)):
            yield Edge(found.key, pod.key, "selection")

    return rule


def _namespaced(found: Object, pods: _Pods) -> Iterator[Edge]:
    yield Edge(found.key, key_of("Namespace", None, found.namespace or "default"), "references", "limits")


_RULES: Final[dict[str, Callable[[Object, _Pods], Iterator[Edge]]]] = {
    "Pod": _pod,
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job"), _workload),
    "Service": _service,
    "EndpointSlice": _endpoint_slice,
    "Ingress": _ingress,
    **dict.fromkeys(("HTTPRoute", "GRPCRoute"), _route),
    "Gateway": _gateway,
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _volume,
    "VolumeAttachment": _attachment,
    "HorizontalPodAutoscaler": _autoscaler,
    "NetworkPolicy": _selector("podSelector"),
    "PodDisruptionBudget": _selector("selector"),
    **dict.fromkeys(("ResourceQuota", "LimitRange"), _namespaced),
}
