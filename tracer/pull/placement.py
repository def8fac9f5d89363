"""Whom the metrics of the platform describe: kube-state-metrics says where a pod runs and which workload owns it.

The labels ``service`` and ``job`` of cAdvisor, kubelet, kube-state-metrics and node-exporter name what scrapes, not
what is measured; a pod's owner, a node's name and the address of a node-exporter are joined here from info series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson
import pyarrow as pa

from hypocenter.errors import SourceError

from ..workload import deployment

if TYPE_CHECKING:
    from .prometheus import Client

_PLATFORM: Final = ("container_", "kube_", "kubelet_")
# Label of an object of kube-state-metrics whose name is that of the workload.
_WORKLOADS: Final = ("deployment", "statefulset", "daemonset", "cronjob", "job_name", "replicaset")
_INFO: Final = '{__name__=~"kube_pod_info|kube_pod_owner|kube_replicaset_owner|kube_node_info|node_uname_info"}'
_Key = tuple[str, str]  # namespace and name


@dataclass(frozen=True, slots=True)
class Placement:
    """What info series tell; empty where there are none.

    ``nodes`` by pod, ``owners`` (workload) by pod, ``hosts`` (node) by the address that is scraped, with and without
    its port.
    """

    nodes: dict[_Key, str] = field(default_factory=dict)
    owners: dict[_Key, str] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, client: Client, times_ns: Sequence[int]) -> Placement:
        """Return what is known at some times, the later ones counting; nothing where the server does not answer."""
        placement = cls()
        replica_owners: dict[_Key, str] = {}
        with suppress(SourceError):
            for at_ns in times_ns:
                for result in client.instant(_INFO, at_ns):
                    placement._learn(result.get("metric", {}), replica_owners)
        for pod, owner in placement.owners.items():
            placement.owners[pod] = replica_owners.get((pod[0], owner), owner)
        return placement

    def _learn(self, labels: Mapping[str, str], replica_owners: dict[_Key, str]) -> None:
        space, pod, node = (_own(labels, name) or "" for name in ("namespace", "pod", "node"))
        owner = labels.get("owner_name", "<none>")
        match labels.get("__name__"):
            case "kube_pod_info" if node:
                self.nodes[space, pod] = node
            case "kube_pod_owner" if owner != "<none>":
                self.owners[space, pod] = owner
            case "kube_replicaset_owner" if owner != "<none>":
                replica_owners[space, labels.get("replicaset", "")] = owner
            case "kube_node_info":
                self._learn_host(labels.get("internal_ip"), node)
            case "node_uname_info":
                self._learn_host(labels.get("instance"), labels.get("nodename", ""))

    def _learn_host(self, address: str | None, node: str) -> None:
        if address and node:
            self.hosts[address] = node
            self.hosts.setdefault(address.rpartition(":")[0] or address, node)

    def place(self, series: pa.Table) -> pa.Table:
        """Return the series with service, pod and node as the platform tells them; the others stay as they are."""
        columns = {name: series[name].to_pylist() for name in ("service", "pod", "node")}
        for row, (name, pairs) in enumerate(
            zip(series["name"].to_pylist(), series["attributes"].to_pylist(), strict=True)
        ):
            labels = {key: str(orjson.loads(text)) for key, text in pairs}
            space = _own(labels, "namespace") or ""
            service, pod, node = (columns[column][row] for column in columns)
            if name.startswith("node_"):
                # The pod and the service of such a series are those of the exporter.
                service, pod = None, None
                node = node or self._host(labels)
            elif name.startswith(_PLATFORM):
                pod = _own(labels, "pod")
                service = self._service(name, labels, pod, space)
                node = _own(labels, "node") or self.nodes.get((space, pod or "")) or (None if pod else node)
            elif pod:
                node = node or self.nodes.get((space, pod))
                if service == _deployment(pod):
                    service = self.owners.get((space, pod), service)
            columns["service"][row], columns["pod"][row], columns["node"][row] = service, pod, node
        for column, found in columns.items():
            at = series.schema.get_field_index(column)
            series = series.set_column(at, series.schema.field(at), pa.array(found, pa.string()))
        return series

    def _service(self, name: str, labels: Mapping[str, str], pod: str | None, space: str) -> str | None:
        if pod:
            return self.owners.get((space, pod)) or _deployment(pod)
        if name.startswith("kube_service_"):
            return _own(labels, "service")
        workload = next((labels[key] for key in _WORKLOADS if labels.get(key)), None)
        return workload or labels.get("horizontalpodautoscaler")

    def _host(self, labels: Mapping[str, str]) -> str | None:
        instance = labels.get("instance", "")
        return self.hosts.get(instance) or self.hosts.get(instance.rpartition(":")[0])


def _own(labels: Mapping[str, str], name: str) -> str | None:
    """Return a label of what is described; where the scraped target has one of that name, Prometheus moves it aside."""
    return labels.get(f"exported_{name}") or labels.get(name) or None


def _deployment(pod: str) -> str | None:
    found: str | None = deployment(pa.array([pod]))[0].as_py()
    return found
