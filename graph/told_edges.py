"""Which series tell of calls, and between whom: service graphs, meshes, and metrics of spans that name their peer.

Span metrics (the Collector's ``spanmetrics`` connector, Tempo's generator) count spans by service, not calls; a span of
a client or producer with a label for its peer is a call. They are asked only about edges that nothing else tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
import pyarrow as pa

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
_CACHES: Final = ("redis", "memcached", "valkey")
_COLUMNS: Final = [
    *("series_id", "temporality", "measure", "unit_ns", "caller", "callee", "caller_kind", "callee_kind", "reporter"),
]


def meaning(name: str) -> tuple[str, float] | None:
    """Return what a metric that may tell of calls measures, and the nanoseconds per unit; None for any other."""
    family = name.replace(".", "_").removesuffix("_total")
    return _SERVICE_GRAPH.get(family) or _ISTIO.get(family) or _SPAN_METRICS.get(family)


def told_edges(series: pa.Table) -> pd.DataFrame:
    """Return per series that describes calls: what it measures, of which edge, told by whom."""
    rows: list[dict[str, Any]] = []
    spans: list[dict[str, Any]] = []
    services = set()
    relevant = [meaning(name) is not None for name in series["name"].to_pylist()]
    columns = ["series_id", "name", "temporality", "unit", "attributes"]
    for row in series.filter(pa.array(relevant, pa.bool_())).select(columns).to_pylist():
        labels = {key.replace(".", "_"): json.loads(value) for key, value in row["attributes"] or ()}
        measure, unit_ns = meaning(row["name"]) or ("", 0.0)
        is_span = row["name"].replace(".", "_").removesuffix("_total") in _SPAN_METRICS
        if is_span:
            services.add(_first(labels, _SERVICE))
            edge = _span_metric(labels)
        else:
            edge = _istio(labels) if row["name"].startswith("istio_") else _service_graph(labels)
        if edge is None:
            continue
        if measure == "duration":
            measure = "server_duration" if edge["reporter"] == "callee" else "client_duration"
        unit_ns = {"ms": 1e6, "s": 1e9}.get(row["unit"], unit_ns) if unit_ns else 0.0
        told = edge | {"measure": measure, "unit_ns": unit_ns} | {k: row[k] for k in ("series_id", "temporality")}
        (spans if is_span else rows).append(told)
        if measure == "count" and edge["failed"]:
            (spans if is_span else rows).append(told | {"measure": "errors"})
    pairs = {(row["caller"], row["callee"]) for row in rows}
    for row in spans:
        if (row["caller"], row["callee"]) not in pairs:
            rows.append(row | ({"callee_kind": "service"} if row["callee"] in services else {}))
    return pd.DataFrame(rows, columns=_COLUMNS)


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
    return _ends(caller, str(labels[name]), False, node, "caller", failed=failed)


def _first(labels: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((str(labels[name]) for name in names if labels.get(name)), None)


def _service_graph(labels: Mapping[str, Any]) -> dict[str, Any] | None:
    caller, callee = labels.get("client"), labels.get("server")
    if not caller or not callee:
        return None
    virtual = labels.get("virtual_node") if labels.get("connection_type") == "virtual_node" else None
    outside = caller in _OUTSIDE and virtual != "server"
    kind = (
        "database" if labels.get("connection_type") == "database" else "external" if virtual == "server" else "service"
    )
    # A messaging edge names producer and consumer; the broker between them is not told.
    return _ends(caller, callee, outside, kind, "callee", failed=False)


def _istio(labels: Mapping[str, Any]) -> dict[str, Any] | None:
    caller, callee = labels.get("source_workload"), labels.get("destination_workload")
    callee = callee if callee not in (None, "", "unknown") else labels.get("destination_service_name")
    if not caller or not callee or callee == "unknown":
        return None
    status, grpc = str(labels.get("response_code", "")), str(labels.get("grpc_response_status", ""))
    # Code 0: the connection broke before an answer came.
    failed = status.startswith("5") or status == "0" or grpc not in ("", "0")
    reporter = "caller" if labels.get("reporter") == "source" else "callee"
    return _ends(caller, callee, caller in _OUTSIDE, "service", reporter, failed=failed)


def _ends(caller: str, callee: str, outside: bool, kind: str, reporter: str, *, failed: bool) -> dict[str, Any]:
    return {
        "caller": "external" if outside else caller,
        "callee": callee,
        "caller_kind": "external" if outside else "service",
        "callee_kind": kind,
        "reporter": reporter,
        "failed": failed,
    }
