"""Which service of the telemetry a pod speaks for, and which services any object bears on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

from ..tracer.batch import Batch
from .kubernetes import Cluster
from .kubernetes_objects import Object

_SERVICE_NAME: Final = "resource.opentelemetry.io/service.name"
_LABELS: Final = ("app.kubernetes.io/instance", "app.kubernetes.io/name", "app", "k8s-app")
# The order in which an owner gives its name to a service (OpenTelemetry's rules for Kubernetes).
_OWNERS: Final = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "CronJob", "Job", "Pod")
_POD_UID, _NAMESPACE = "k8s.pod.uid", "k8s.namespace.name"
# References in which the source depends on the target; an autoscaler or a quota bears on what it refers to.
_LEANING: Final = ("class", "TLS certificate", "headless service")
_NOTHING: Final[dict[str, Any]] = {}


@dataclass(frozen=True)
class Speakers:
    """What telemetry says of who speaks: services by pod uid and by (namespace or None, pod name).

    ``beside`` are further services by pod uid: containers of one pod share its address, its volumes and its node.
    """

    by_uid: Mapping[str, str]
    by_name: Mapping[tuple[str | None, str], str]
    services: frozenset[str]
    beside: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, *batches: Batch, services: Iterable[str] = ()) -> Speakers:
        """Return the speakers in spans, series and logs; ``services`` are further names that the telemetry knows."""
        by_uid: dict[str, str] = {}
        beside: dict[str, frozenset[str]] = {}
        by_name: dict[tuple[str | None, str], str] = {}
        known = set(services)
        for batch in batches:
            for signal, attributes in (("spans", "resource"), ("series", "attributes"), ("logs", "attributes")):
                for service, pod, found in _distinct(batch.table(signal), attributes):
                    known.add(service)
                    uid = _text(found.get(_POD_UID))
                    if uid and by_uid.setdefault(uid, service) != service:
                        beside[uid] = beside.get(uid, frozenset()) | {service}
                    if pod:
                        by_name.setdefault((_text(found.get(_NAMESPACE)), pod), service)
        return cls(by_uid, by_name, frozenset(known), beside)


def _distinct(table: pa.Table, attributes: str) -> Iterator[tuple[str, str | None, Mapping[str, str]]]:
    """Yield service, pod and the attributes of the first row of each pod, and of each instance of a service."""
    if not table.num_rows:
        return
    columns = [name for name in ("service", "pod", "instance") if name in table.column_names]
    frame = pd.DataFrame({name: table[name].to_pandas() for name in columns})
    first = np.sort(frame.drop_duplicates().index.to_numpy())
    some = table.select(["service", "pod", attributes]).take(pa.array(first))
    for row in some.to_pylist():
        if row["service"]:
            yield row["service"], row["pod"], dict(row[attributes] or ())


def _text(value: str | None) -> str | None:
    try:
        found = orjson.loads(value) if value else None
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, str) else None


@dataclass(frozen=True)
class ServiceJoin:
    """Objects of a cluster and the services they bear on; ``cluster`` should hold the vanished objects as well."""

    cluster: Cluster
    speakers: Speakers

    @cached_property
    def of_pod(self) -> dict[str, str]:
        """The service of each pod by uid: what telemetry says by uid, then by name, a sibling's, then conventions."""
        found: dict[str, str] = {}
        siblings: dict[str, str] = {}
        pods = self.cluster.of("Pod")
        for pod in pods:
            if told := self._told(pod):
                found[pod.uid] = told
                siblings.setdefault(self.cluster.root(pod).uid, told)
        for pod in pods:
            if pod.uid not in found:
                told = siblings.get(self.cluster.root(pod).uid)
                found[pod.uid] = told or self._by_convention(pod)
        return found

    def services(self, found: Object) -> list[str]:
        """Return the services that an object bears on, sorted: those of the pods that depend on it."""
        return sorted(self._services(found.key, set()))

    def _services(self, key: str, seen: set[str]) -> set[str]:
        if key in seen:
            return set()
        seen.add(key)
        found = self.cluster.by_key.get(key)
        if found is not None and found.kind == "Pod":
            return {self.of_pod[found.uid], *self.speakers.beside.get(found.uid, ())}
        services: set[str] = set()
        for dependent in self._dependents.get(key, ()):
            services |= self._services(dependent, seen)
        if not services and found is not None and (found.kind in _OWNERS or found.kind == "Service"):
            services = {self._by_convention(found)}
        return services

    def _by_convention(self, found: Object) -> str:
        """Return the first name, in the order of the conventions, that the telemetry knows; else the first name.

        A name that only pods of other namespaces speak as is theirs: staging may have a web as well.
        """
        names = list(self._names(found))
        for name in names:
            for spelled in (name, f"{found.namespace}/{name}"):
                if spelled in self.speakers.services and not self._is_others(spelled, found):
                    return spelled
        return f"{found.namespace}/{names[0]}" if self._is_others(names[0], found) else names[0]

    def _is_others(self, service: str, found: Object) -> bool:
        spoken = self._spoken_in.get(service, {found.namespace})
        return found.namespace not in spoken

    @cached_property
    def _spoken_in(self) -> dict[str, set[str | None]]:
        """The namespaces of the pods that telemetry itself names as a service's."""
        found: dict[str, set[str | None]] = {}
        for pod in self.cluster.of("Pod"):
            if told := self._told(pod):
                found.setdefault(told, set()).add(pod.namespace)
        return found

    def _told(self, pod: Object) -> str | None:
        by = self.speakers
        return by.by_uid.get(pod.uid) or by.by_name.get((pod.namespace, pod.name)) or by.by_name.get((None, pod.name))

    def _names(self, found: Object) -> Iterator[str]:
        chain = [found]
        while (owner := self.cluster.objects.get(chain[-1].owner_uid or "")) is not None and len(chain) < 8:
            chain.append(owner)
        for each in chain:
            template = each.template.get("metadata") or _NOTHING
            annotations = {**(template.get("annotations") or {}), **each.annotations}
            if name := annotations.get(_SERVICE_NAME):
                yield str(name)
        for label in _LABELS:
            for each in chain:
                template = each.template.get("metadata") or _NOTHING
                if name := each.labels.get(label) or (template.get("labels") or {}).get(label):
                    yield str(name)
        by_kind = {each.kind: each.name for each in chain}
        yield from (by_kind[kind] for kind in _OWNERS if kind in by_kind)
        # A ReplicaSet that lost its owner, or a pod alone.
        yield found.name

    @cached_property
    def _dependents(self) -> dict[str, list[str]]:
        """Keys that depend on a key: whoever mounts it, is owned, routed to, selected by or placed on it."""
        found: dict[str, dict[str, None]] = {}
        for edge in self.cluster.edges:
            leans = edge.layer in ("mounts", "placement") or edge.detail in _LEANING
            backwards = leans and edge.detail != "attaches"
            cause, effect = (edge.target, edge.source) if backwards else (edge.source, edge.target)
            found.setdefault(cause, {})[effect] = None
        for pod in self.cluster.of("Pod"):
            found.setdefault(f"Namespace/{pod.namespace}", {})[pod.key] = None
        return {key: list(effects) for key, effects in found.items()}
