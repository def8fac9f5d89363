"""The same calls between coarser nodes: namespaces, teams, any group; sidecars taken into the services they serve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .calls import best_kinds
from .rollup import SCHEMAS, Rollups, merge

if TYPE_CHECKING:
    from .dependency_graph import DependencyGraph

_NAMES = {"caller": "caller_kind", "callee": "callee_kind", "service": None}
_PROXY = re.compile(r"(?:^|[^a-z])(?:envoy|istio-proxy|linkerd(?:-proxy)?|dapr(?:d)?|sidecar|proxy)(?:[^a-z]|$)", re.I)
SIDECAR = "sidecar"


def grouped(graph: DependencyGraph, groups: Mapping[str, str]) -> DependencyGraph:
    """Return the graph with each node named as its group; nodes without one stay as they are.

    Calls within a group are an edge of the group to itself, so that nothing is lost. A group of one kind is of that
    kind; of several, the first of service, database, cache, messaging, external, entry: who has a service is one.
    """
    ends = graph.calls.ends
    nodes = sorted({*ends["source"], *ends["target"], *graph.rollups.instances["service"].drop_null().to_pylist()})
    # A node that is named as a group is in it.
    members = [groups.get(node, node) for node in nodes]
    kinds = best_kinds(members, graph.calls.node_kinds(nodes))
    kinds = {group: kinds[group] for group in set(groups.values()) & kinds.keys()}
    told = graph.with_matched()
    return replace(told, rollups=_renamed(told.rollups, groups, kinds), told=_renamed(told.told, groups, kinds))


def by_namespace(graph: DependencyGraph) -> DependencyGraph:
    """Return the graph of namespaces; services without one, and peers that record no spans, stay nodes of their own."""
    nodes = graph.nodes[graph.nodes["namespace"].notna()]
    return grouped(graph, dict(zip(nodes["id"], nodes["namespace"], strict=True)))


def sidecars(graph: DependencyGraph) -> dict[str, str]:
    """Return the service that each sidecar serves.

    A sidecar is named like a proxy (envoy, istio-proxy, linkerd-proxy, daprd, ...) and runs in pods of exactly one
    other service; a gateway has pods of its own, and stays a node.
    """
    rows = graph.rollups.instances.select(["service", "pod"]).to_pandas().dropna().drop_duplicates()
    rows["is_proxy"] = np.array([bool(_PROXY.search(name)) for name in rows["service"]], dtype=bool)
    apps = rows[~rows["is_proxy"]].groupby("pod")["service"].agg(["nunique", "first"])
    alone = apps[apps["nunique"] == 1]["first"]
    proxies = rows[rows["is_proxy"]].assign(app=lambda frame: frame["pod"].map(alone))
    found = proxies.groupby("service")["app"].agg(["nunique", "first", "size", "count"])
    of_one = found[(found["nunique"] == 1) & (found["size"] == found["count"])]
    return dict(zip(of_one.index, of_one["first"], strict=True))


def without_sidecars(graph: DependencyGraph) -> DependencyGraph:
    """Return the graph with sidecars taken into the services that they serve (`sidecars`).

    The hops between a service and its own sidecar are no calls: their spans count under the reason ``sidecar``.
    """
    serves = sidecars(graph)
    if not serves:
        return graph
    members = {name: serves.get(name, name) for name in {*serves, *serves.values()}}
    edges = graph.rollups.edges
    callers, callees = edges["caller"].to_pylist(), edges["callee"].to_pylist()
    is_hop = pa.array(
        [
            a != b and members.get(a) is not None and members.get(a) == members.get(b)
            for a, b in zip(callers, callees, strict=True)
        ],
        pa.bool_(),
    )
    hops = edges.filter(is_hop)
    lost = pa.concat_tables(
        pa.table(
            {
                "time_ns": hops["time_ns"],
                "service": hops[end],
                "reason": pa.array([SIDECAR] * len(hops), pa.string()),
                "count": hops[f"{side}_count"],
            }
        ).cast(SCHEMAS["unlinked"])
        for end, side in (("caller", "client"), ("callee", "server"))
    )
    lost = lost.filter(pc.greater(lost["count"], 0))
    unlinked = pa.concat_tables([graph.rollups.unlinked, lost])
    return grouped(
        replace(graph, rollups=replace(graph.rollups, edges=edges.filter(pc.invert(is_hop)), unlinked=unlinked)), serves
    )


def _renamed(rollups: Rollups, groups: Mapping[str, str], kinds: Mapping[str, str]) -> Rollups:
    tables = {}
    for table_name in SCHEMAS:
        table = getattr(rollups, table_name)
        for column, kind in _NAMES.items():
            if column not in table.column_names:
                continue
            names = [groups.get(name, name) for name in table.column(column).to_pylist()]
            table = _with(table, column, names)
            if kind is not None:
                known = table.column(kind).to_pylist()
                # Callers that are outside are external in rollups.
                found = [kinds.get(name, own) for name, own in zip(names, known, strict=True)]
                table = _with(table, kind, ["external" if one == "entry" else one for one in found])
        tables[table_name] = table
    return merge([Rollups(**tables)])


def _with(table: pa.Table, name: str, values: list[str]) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, pa.string()))
