"""Services that lose or do not pass on the trace context, and telemetry whose names are without bound."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.store import Store
from .dependency_graph import DependencyGraph
from .doctor import Finding
from .named_telemetry import PLACE
from .node_names import UNKNOWN_SERVICE, Identity, named_by_host, nodes_of

_CLIENTS, _SERVERS = pa.array([3, 4], pa.int8()), pa.array([2, 5], pa.int8())
_IDENTITY = ("service", *PLACE)
# Below, a root client is a job of the service's own; above, requests lose their context on the way through it.
_LEAST_LOST, _LOST_SHARE = 20, 0.05
SERIES_LIMIT, PEERS_LIMIT = 1000, 100


def context_breaks(store: Store, graph: DependencyGraph) -> list[Finding]:
    """Return the services in which traces end or begin although a request goes on, with the likely fix.

    - Lost inside: a service that is called and calls, whose client spans are roots. Jobs that a service starts itself
      look alike, so at least 20 and a twentieth of its client spans are asked for.
    - Lost between: a caller's peer is named as a service (its host's first label) whose own spans begin traces.
    """
    return [*_lost_inside(store, graph), *_lost_between(graph)]


def _lost_inside(store: Store, graph: DependencyGraph) -> Iterator[Finding]:
    roots: Counter[str] = Counter()
    clients: Counter[str] = Counter()
    serving: set[str] = set()
    nodes = nodes_of(graph.rollups)
    for batch in store.scan("spans", graph.window, columns=[*_IDENTITY, "kind", "parent_span_id"]):
        spans = pa.table(
            {
                **{name: batch[name] for name in _IDENTITY},
                "is_client": pc.is_in(batch["kind"], _CLIENTS),
                "is_server": pc.is_in(batch["kind"], _SERVERS),
                "is_root": pc.is_null(batch["parent_span_id"]),
            }
        )
        for row in spans.group_by(spans.column_names).aggregate([([], "count_all")]).to_pylist():
            named = Identity(row["service"] or UNKNOWN_SERVICE, *(row[name] for name in _IDENTITY[1:]))
            service = nodes.get(named, named.name)
            serving |= {service} if row["is_server"] else set()
            clients[service] += row["is_client"] * row["count_all"]
            roots[service] += (row["is_client"] and row["is_root"]) * row["count_all"]
    lost = {
        service: count
        for service, count in roots.items()
        if service in serving and count >= max(_LEAST_LOST, _LOST_SHARE * clients[service])
    }
    if lost:
        yield Finding(
            "calls that begin a new trace inside of a service: the context of its request does not reach its client",
            "carry the context across threads, queues and callbacks (wrap executors, pass it to tasks), and instrument "
            "the server and the client library by one SDK",
            tuple(sorted(lost.items(), key=lambda item: (-item[1], item[0]))),
        )


def _lost_between(graph: DependencyGraph) -> Iterator[Finding]:
    edges = graph.edges
    begun = edges[(edges["kind"] == "entry") & (edges["server_count"] > edges["missing_parents"])]
    begin = set(begun["target"])
    services: dict[str, dict[str | None, set[str]]] = {}
    for one, node in nodes_of(graph.rollups).items():
        if node in begin:
            services.setdefault(one.name, {}).setdefault(one.namespace, set()).add(node)
    lost: Counter[str] = Counter()
    unanswered = edges[(edges["kind"] == "external") & (edges["client_count"] > 0)]
    for caller, host, count in zip(unanswered["source"], unanswered["target"], unanswered["count"], strict=True):
        name, namespace = named_by_host(str(host))
        known = services.get(name, {})
        nodes = known.get(namespace) or set().union(*known.values())
        if nodes - {caller}:
            # A host may stand for several deployments; then it is not told which of them was called.
            lost[f"{caller} -> {min(nodes) if len(nodes) == 1 else name}"] += int(count)
    if lost:
        yield Finding(
            "calls whose callee begins a trace of its own: the context is lost between the two",
            "let both speak one format (OTEL_PROPAGATORS=tracecontext,baggage on all services), let proxies and "
            "gateways in between pass on traceparent, and instrument the caller's client library so that it writes it",
            tuple(sorted(lost.items(), key=lambda item: (-item[1], item[0]))),
        )


def explosions(store: Store, graph: DependencyGraph) -> list[Finding]:
    """Return metrics with more than 1,000 series, and callers with more than 100 unnamed peers, with their remedy."""
    found = []
    series = store.read("series").select(["name", "attributes"])
    names = {e["values"]: e["counts"] for e in pc.value_counts(series["name"]).to_pylist()}
    large = {name: count for name, count in names.items() if count > SERIES_LIMIT}
    if large:
        subjects = [(f"{name} by {_widest(series, name)}", count) for name, count in large.items()]
        found.append(
            Finding(
                "metrics with more than 1,000 series",
                "drop or bound the label named, which has most values (ids, paths, addresses do not belong there)",
                tuple(sorted(subjects, key=lambda item: (-item[1], item[0]))),
            )
        )
    peers = graph.edges[graph.edges["kind"].isin(("external", "database"))].groupby("source").size()
    many = {str(caller): int(count) for caller, count in peers.items() if count > PEERS_LIMIT}
    if many:
        found.append(
            Finding(
                "callers of more than 100 peers without spans: addresses stand for services",
                "set service.peer.name (or peer.service) on client spans, or a host name in place of an address",
                tuple(sorted(many.items(), key=lambda item: (-item[1], item[0]))),
            )
        )
    return found


def _widest(series: pa.Table, name: str) -> str:
    """Return the label of a metric that has most values."""
    values: dict[str, set[str]] = {}
    for pairs in series.filter(pc.equal(series["name"], name))["attributes"].to_pylist():
        for label, value in pairs or ():
            values.setdefault(label, set()).add(value)
    label = max(sorted(values), key=lambda one: len(values[one]), default="no label")
    return (
        f"{label} ({len(values.get(label, ())):,} values, such as {json.loads(min(values[label]))})"
        if values
        else label
    )
