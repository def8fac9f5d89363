"""From an alert's labels to the service, pod and node that it speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .payload import Alert

# In the order of trust; `job` and `instance` often name the exporter, not the service, so they come last.
SERVICE_LABELS = (
    "service",
    "service_name",
    "destination_service_name",
    "destination_workload",
    "app",
    "app_kubernetes_io_name",
    "deployment",
    "statefulset",
    "daemonset",
    "workload",
    "container",
    "exported_job",
    "exported_service",
    "job",
    "job_name",
)
POD_LABELS = ("pod", "pod_name", "k8s_pod_name", "exported_pod", "instance")
NODE_LABELS = ("node", "nodename", "k8s_node_name", "kubernetes_node", "host", "instance")
# A service of a name that several namespaces have is called `namespace/name`.
NAMESPACE_LABELS = (
    "namespace",
    "service_namespace",
    "exported_namespace",
    "destination_service_namespace",
    "k8s_namespace_name",
    "kubernetes_namespace",
)
# Where several environments or clusters have it, `name@environment` or `name@cluster`.
ENVIRONMENT_LABELS = ("deployment_environment_name", "deployment_environment", "environment", "env")
CLUSTER_LABELS = ("k8s_cluster_name", "cluster")
# Workload name of a pod: of a Deployment (hash and suffix), a StatefulSet (ordinal) or a DaemonSet (suffix).
_POD_SUFFIXES = (re.compile(r"-[a-z0-9]{6,10}-[a-z0-9]{5}$"), re.compile(r"-\d+$"), re.compile(r"-[a-z0-9]{5}$"))
_PORT = re.compile(r":\d+$")


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows: services, and the service of each pod; ``nodes`` and the services on each."""

    services: frozenset[str] = frozenset()
    pods: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entity:
    """``service`` is None when no label names one; ``doubts`` say what was ambiguous or unknown."""

    service: str | None = None
    pod: str | None = None
    node: str | None = None
    doubts: tuple[str, ...] = ()


def map_alert(alert: Alert, known: Known, rules: Iterable[tuple[str, str]] = ()) -> Entity:
    """Return the entity that an alert speaks of.

    Parameters
    ----------
    rules
        (label, what it names: service, pod or node), tried before the usual labels.
    known
        Names that telemetry uses. A label whose value is known wins over one that is not, whatever their order; while
        nothing is known, the first label wins.
    """
    own = list(rules)
    services = _candidates(alert, [label for label, to in own if to == "service"], SERVICE_LABELS)
    pod = _first(alert, [label for label, to in own if to == "pod"], POD_LABELS, set(known.pods))
    node = _first(alert, [label for label, to in own if to == "node"], NODE_LABELS, set(known.nodes))
    doubts = []
    place = _place(alert)
    found = list(dict.fromkeys(name for _, value in services if (name := _known_name(value, place, known))))
    if pod is not None and known.pods and pod in known.pods:
        found = list(dict.fromkeys([*found, known.pods[pod]])) if found else [known.pods[pod]]
    if len(found) > 1:
        doubts.append(f"labels name {' and '.join(found[:4])}; taken: {found[0]}")
    service = found[0] if found else None
    if service is None and node is not None and node in known.nodes:
        on_node = list(known.nodes[node])
        doubts.append(f"node {node} carries {len(on_node)} services; none is named")
    elif service is None:
        named = next((_bare(value) for _, value in services), None) or (_workload(pod) if pod else None)
        if named and not known.services:
            service = named
        elif named and (several := sorted(name for name in known.services if _bare(name.split("@")[0]) == named)):
            doubts.append(f"{named} may be {' or '.join(several[:4])}; no label tells which")
        elif named:
            doubts.append(f"no telemetry of {named}")
        else:
            doubts.append("no label names a service, a pod or a node")
    return Entity(service, pod, node, tuple(doubts))


def _candidates(alert: Alert, own: list[str], usual: Sequence[str]) -> list[tuple[str, str]]:
    return [(label, alert.labels[label]) for label in [*own, *usual] if alert.labels.get(label)]


def _first(alert: Alert, own: list[str], usual: Sequence[str], known: set[str]) -> str | None:
    values = [(label, _PORT.sub("", value)) for label, value in _candidates(alert, own, usual)]
    # An address is a pod or a node only where telemetry says so.
    return next(
        (v for _, v in values if v in known),
        next((v for label, v in values if label not in ("instance", "host")), None),
    )


def _place(alert: Alert) -> tuple[str | None, list[str]]:
    """Return the namespace that labels name, and what follows a service's name in their environment and cluster."""
    namespace, environment, cluster = (
        next((value for _, value in _candidates(alert, [], usual)), None)
        for usual in (NAMESPACE_LABELS, ENVIRONMENT_LABELS, CLUSTER_LABELS)
    )
    return namespace, [f"@{environment}@{cluster}", f"@{environment}", f"@{cluster}", ""]


def _known_name(value: str, place: tuple[str | None, list[str]], known: Known) -> str | None:
    """Return the name by which telemetry knows ``value``: as it is, where it runs, or bare of all but the name."""
    bare = _bare(value)
    namespace, suffixes = place
    forms = (value, f"{namespace}/{bare}", bare, bare.replace("_", "-"), bare.lower(), _workload(bare))
    names = (f"{form}{suffix}" for form in forms if form for suffix in suffixes)
    return next((name for name in names if name in known.services), None)


def _bare(value: str) -> str:
    """Return the last part of ``namespace/name``, without domain of a cluster and port.

    >>> _bare("shop/payment"), _bare("payment.shop.svc.cluster.local:8080")
    ('payment', 'payment')
    """
    text = _PORT.sub("", value).rsplit("/", 1)[-1]
    return re.sub(r"\.[^.]+\.svc(\..*)?$", "", text)


def _workload(pod: str) -> str | None:
    """Return the workload's name in a pod's, None when it does not look like one.

    >>> _workload("payment-7d4b9c6f5d-x2x9z"), _workload("store-db-0"), _workload("payment")
    ('payment', 'store-db', None)
    """
    return next((pattern.sub("", pod) for pattern in _POD_SUFFIXES if pattern.search(pod)), None)
