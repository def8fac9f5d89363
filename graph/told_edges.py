"""Which series tell of calls, and between whom: service graphs, meshes, and metrics of spans that name their peer.

Span metrics (the Collector's ``spanmetrics`` connector, Tempo's generator) count spans by service, not calls; a span of
a client or producer with a label for its peer is a call. They are asked only about calls that nothing else tells of
(`hypocenter.graph.told_match`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from .node_names import Identity, node_names
from .told_match import CONSUMER

# Metric -> what it measures, and nanoseconds per unit. The Collector's own names lack the unit (seconds).
_SERVICE_GRAPH: Final = {
    "traces_service_graph_request": ("count", 0.0),
    "traces_service_graph_request_failed": ("errors", 0.0),
    "traces_service_graph_request_server_seconds": ("server_duration", 1e9),
    "traces_service_graph_request_client_seconds": ("client_duration", 1e9),
    "traces_service_graph_request_server": ("server_duration", 1e9),
    "traces_service_graph_request_client": ("client_duration", 1e9),
    "traces_service_graph_request_messaging_system_seconds": ("queue", 1e9),
}
_ISTIO: Final = {"istio_requests": ("count", 0.0), "istio_request_duration_milliseconds": ("duration", 1e6)}
_SPAN_METRICS: Final = {
    **dict.fromkeys(("traces_span_metrics_calls", "traces_spanmetrics_calls", "calls"), ("count", 0.0)),
    **{f"{prefix}duration_{unit}": ("client_duration", size)
       for prefix in ("traces_span_metrics_", "") for unit, size in (("milliseconds", 1e6), ("seconds", 1e9))},
    "traces_span_metrics_duration": ("client_duration", 1e9),
    "traces_spanmetrics_latency": ("client_duration", 1e9),
    "duration": ("client_duration", 1e9),
}  # fmt: skip
# What writers call a caller that they do not know.
_OUTSIDE: Final = ("user", "unknown")
_SERVICE: Final = ("service_name", "service")
# Labels that name a client's peer, and the kind of node each makes; the first that is there decides.
_PEERS: Final = {
    **dict.fromkeys(("peer_service", "service_peer_name"), "external"),
    "messaging_destination_name": "messaging",
    **dict.fromkeys(("db_namespace", "db_name"), "database"),
    **dict.fromkeys(("server_address", "net_peer_name", "net_sock_peer_addr"), "external"),
    **dict.fromkeys(("db_system_name", "db_system"), "database"),
    **dict.fromkeys(("messaging_system",), "messaging"),
}
# Labels of a namespace, an environment and a cluster; those of a service graph begin with ``client_`` or ``server_``.
_PLACES: Final = (
    ("service_namespace",),
    ("deployment_environment_name", "deployment_environment"),
    ("k8s_cluster_name",),
)
_CACHES: Final = ("redis", "memcached", "valkey")
_COLUMNS: Final = [
    *("series_id", "temporality", "measure", "unit_ns", "caller", "callee", "caller_kind", "callee_kind", "reporter"),
    "of_spans",
]


def meaning(name: str) -> tuple[str, float] | None:
    """Return what a metric that may tell of calls measures, and the nanoseconds per unit; None for any other."""
    family = name.replace(".", "_").removesuffix("_total")
    return _SERVICE_GRAPH.get(family) or _ISTIO.get(family) or _SPAN_METRICS.get(family)


def told_edges(series: pa.Table) -> pd.DataFrame:
    """Return per series that describes calls: what it measures, of which edge, told by whom."""
    rows: list[dict[str, Any]] = []
    services = set()
    relevant = [meaning(name) is not None for name in series["name"].to_pylist()]
    columns = ["series_id", "name", "temporality", "unit", "attributes"]
    for row in series.filter(pa.array(relevant, pa.bool_())).select(columns).to_pylist():
        labels = {key.replace(".", "_"): json.loads(value) for key, value in row["attributes"] or ()}
        measure, unit_ns = meaning(row["name"]) or ("", 0.0)
        of_spans = row["name"].replace(".", "_").removesuffix("_total") in _SPAN_METRICS
        if of_spans:
            services.add(_first(labels, _SERVICE))
            edge = _span_metric(labels)
        else:
            edge = _istio(labels) if row["name"].startswith("istio_") else _service_graph(labels)
        if edge is None:
            continue
        if measure == "duration":
            measure = "server_duration" if edge["reporter"] == "callee" else "client_duration"
        unit_ns = {"ms": 1e6, "s": 1e9}.get(row["unit"], unit_ns) if unit_ns else 0.0
        told = edge | {"measure": measure, "unit_ns": unit_ns, "of_spans": of_spans}
        told |= {name: row[name] for name in ("series_id", "temporality")}
        rows.append(told)
        if measure == "count" and edge["failed"]:
            rows.append(told | {"measure": "errors"})
    for row in rows:
        if row["of_spans"] and row["callee"].name in services:
            row["callee_kind"] = "service"
    # A node is told apart by where it runs as one of spans is; the names of others are theirs.
    names = node_names(row[end] for row in rows for end in ("caller", "callee"))
    return pd.DataFrame(
        [row | {end: names[row[end]] for end in ("caller", "callee")} for row in rows], columns=_COLUMNS
    )


def _span_metric(labels: Mapping[str, Any]) -> dict[str, Any] | None:
    caller = _first(labels, _SERVICE)
    kind = str(labels.get("span_kind", "")).upper().removeprefix("SPAN_KIND_")
    if caller is None or kind not in ("CLIENT", "PRODUCER"):
        return None
    name = next((name for name in _PEERS if labels.get(name)), None)
    if name is None:
        return None
    system = str(_first(labels, ("db_system_name", "db_system")) or "")
    node = "cache" if system in _CACHES else "database" if system else _PEERS[name]
    failed = str(labels.get("status_code", "")).upper().removeprefix("STATUS_CODE_") == "ERROR"
    return _ends(_identity(caller, labels), Identity(str(labels[name])), node, "caller", failed=failed)


def _first(labels: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((str(labels[name]) for name in names if labels.get(name)), None)


def _identity(name: str, labels: Mapping[str, Any], prefix: str = "") -> Identity:
    return Identity(name, *(_first(labels, [f"{prefix}{label}" for label in place]) for place in _PLACES))


def _service_graph(labels: Mapping[str, Any]) -> dict[str, Any] | None:
    caller, callee, connection = (labels.get(name) for name in ("client", "server", "connection_type"))
    if not caller or not callee:
        return None
    # Which end is virtual is told by a label that writers leave out unless asked; a caller is then called as below.
    end = labels.get("virtual_node") or ("client" if caller in _OUTSIDE else "server")
    virtual = end if connection == "virtual_node" else None
    if caller in _OUTSIDE and virtual != "server":
        caller = None
    # A messaging edge names producer and consumer; the broker between them is not told.
    kind = {"database": "database", "messaging_system": CONSUMER}.get(connection or "", "service")
    kind = "external" if virtual == "server" else kind
    server = _identity(callee, labels, "server_") if kind in ("service", CONSUMER) else Identity(callee)
    return _ends(caller and _identity(caller, labels, "client_"), server, kind, "callee", failed=False)


def _istio(labels: Mapping[str, Any]) -> dict[str, Any] | None:
    caller, callee = labels.get("source_workload"), labels.get("destination_workload")
    callee = callee if callee not in (None, "", "unknown") else labels.get("destination_service_name")
    if not caller or not callee or callee == "unknown":
        return None
    status, grpc = str(labels.get("response_code", "")), str(labels.get("grpc_response_status", ""))
    # Code 0: the connection broke before an answer came.
    failed = status.startswith("5") or status == "0" or grpc not in ("", "0")
    reporter = "caller" if labels.get("reporter") == "source" else "callee"
    ends = [_workload(labels, name, side) for name, side in ((caller, "source"), (callee, "destination"))]
    return _ends(None if caller in _OUTSIDE else ends[0], ends[1], "service", reporter, failed=failed)


def _workload(labels: Mapping[str, Any], name: str, side: str) -> Identity:
    places = (labels.get(f"{side}_workload_namespace"), None, labels.get(f"{side}_cluster"))
    return Identity(name, *(place if place not in ("", "unknown") else None for place in places))


def _ends(caller: Identity | None, callee: Identity, kind: str, reporter: str, *, failed: bool) -> dict[str, Any]:
    """Return an edge; a ``caller`` of None is outside."""
    return {
        "caller": caller or Identity("external"),
        "callee": callee,
        "caller_kind": "service" if caller else "external",
        "callee_kind": kind,
        "reporter": reporter,
        "failed": failed,
    }
