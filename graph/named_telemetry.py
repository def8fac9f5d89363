"""Telemetry whose services are named as the nodes of the graph, where deployments of one name are told apart."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.batch import Batch
from . import grouping
from .node_names import UNKNOWN_SERVICE, Identity, node_names

# Columns of spans that tell deployments of one service apart, and the attributes that say the same of other signals.
PLACE: Final = ("service_namespace", "environment", "cluster")
_ATTRIBUTES: Final = (
    ("service.namespace", "service_namespace"),
    (
        *("deployment.environment.name", "deployment.environment"),
        *("deployment_environment_name", "deployment_environment"),
    ),
    ("k8s.cluster.name", "k8s_cluster_name"),
)
_OTHERS: Final = ("series", "logs")


def named_as_nodes(batches: Sequence[Batch]) -> list[Batch]:
    """Return telemetry with each ``service`` of spans, series and logs named as its node among the spans of all.

    Series and logs are of the deployment whose pod they name, else of the only one that their attributes do not rule
    out; others keep the name. What is told apart already stays, and without anything to tell apart nothing is done.
    """
    spans = [batch.table("spans") for batch in batches]
    names = names_of(spans)
    apart: dict[str, dict[Identity, str]] = defaultdict(dict)
    for one, node in names.items():
        apart[one.name][one] = node
    apart = {name: nodes for name, nodes in apart.items() if set(nodes.values()) != {name}}
    if not apart:
        return list(batches)
    named = [with_names(table, names) for table in spans]
    pods = _pods(zip(spans, named, strict=True))
    found = []
    for batch, table in zip(batches, named, strict=True):
        others = {name: _of_others(batch.tables[name], apart, pods) for name in _OTHERS if name in batch.tables}
        found.append(replace(batch, tables=batch.tables | others | ({"spans": table} if len(table) else {})))
    return found


def names_of(spans: Iterable[pa.Table | pa.RecordBatch]) -> dict[Identity, str]:
    """Return the node of each identity among spans; nothing while none is told apart."""
    identities: set[Identity] = set()
    for table in spans:
        if any(table.column(name).null_count < len(table) for name in PLACE):
            identities |= set(_identities(table)[1])
    names = node_names(identities)
    return names if any(one.name != node for one, node in names.items()) else {}


def with_names(spans: pa.Table, names: Mapping[Identity, str]) -> pa.Table:
    """Return spans with each service named as its node."""
    if not names or not len(spans):
        return spans
    group, identities = _identities(spans)
    nodes = pa.array([names.get(one, one.name) for one in identities], pa.string())
    return _with_service(spans, nodes.take(pa.array(group)))


def _identities(table: pa.Table | pa.RecordBatch) -> tuple[np.ndarray, list[Identity]]:
    """Return the number of each span's identity, and the identities by number."""
    group, keys = grouping.group({name: table.column(name) for name in ("service", *PLACE)})
    rows = zip(*(column.to_pylist() for column in keys.values()), strict=True)
    return group, [Identity(name or UNKNOWN_SERVICE, *place) for name, *place in rows]


def _pods(spans: Iterable[tuple[pa.Table, pa.Table]]) -> dict[tuple[str, str], str]:
    """Return the node by service and pod, where one node has the pod."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for given, named in spans:
        _, keys = grouping.group({"service": given["service"], "pod": given["pod"], "node": named["service"]})
        for service, pod, node in zip(*(column.to_pylist() for column in keys.values()), strict=True):
            found[service, pod].add(node)
    return {key: min(nodes) for key, nodes in found.items() if key[1] and len(nodes) == 1}


def _of_others(
    table: pa.Table, apart: Mapping[str, Mapping[Identity, str]], pods: Mapping[tuple[str, str], str]
) -> pa.Table:
    columns = {name: table[name] for name in ("service", "pod")}
    columns |= {place: _said(table["attributes"], keys) for place, keys in zip(PLACE, _ATTRIBUTES, strict=True)}
    group, keys = grouping.group(columns)
    nodes = []
    for service, pod, *place in zip(*(column.to_pylist() for column in keys.values()), strict=True):
        given = Identity(service or "", *(None if text is None else str(json.loads(text)) for text in place))
        fitting = {node for one, node in apart.get(given.name, {}).items() if _may_be(one, given)}
        nodes.append(pods.get((service, pod)) or (min(fitting) if len(fitting) == 1 else service))
    return _with_service(table, pa.array(nodes, pa.string()).take(pa.array(group)))


def _said(attributes: pa.ChunkedArray, keys: Sequence[str]) -> pa.ChunkedArray:
    """Return the JSON text of the first of some attributes that each row has."""
    return pc.coalesce(*(pc.map_lookup(attributes, pa.scalar(key), "first") for key in keys))


def _may_be(one: Identity, given: Identity) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(one[1:], given[1:], strict=True))


def _with_service(table: pa.Table, names: pa.Array) -> pa.Table:
    at = table.schema.get_field_index("service")
    return table.set_column(at, table.schema.field(at), names.cast(table.schema.field(at).type))
