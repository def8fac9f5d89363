"""What to mend in the instrumentation, so that the graph explains more of the traffic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .coverage import EXPLAINED
from .operations import OTHER

if TYPE_CHECKING:
    from .dependency_graph import DependencyGraph

# What usually helps against each reason of docs/linking.md.
_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "client-without-peer": "set server.address, service.peer.name or db.system.name on client spans (newer "
        "instrumentation does), or instrument the callee",
        "consumer-without-broker": "set messaging.destination.name on consumer spans, and link them to the producer's",
        "producer-without-broker": "set messaging.destination.name on producer spans",
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend: where (services or edges with the number of spans or calls, the most first) and how."""

    title: str
    remedy: str
    subjects: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"title", "remedy", "subjects": {name: count}}``."""
        return {"title": self.title, "remedy": self.remedy, "subjects": dict(self.subjects)}


def findings(graph: DependencyGraph) -> list[Finding]:
    """Return what is wrong with the telemetry of a graph, what concerns most spans or calls first."""
    found = [*_unlinked(graph), _broken_context(graph), _without_client(graph), _unnamed(graph)]
    found += [_uninstrumented(graph), _too_many_operations(graph), _named_otherwise(graph)]
    return sorted((f for f in found if f.subjects), key=lambda f: -sum(count for _, count in f.subjects))


def _finding(title: str, remedy: str, counts: Iterable[tuple[str, Any]]) -> Finding:
    subjects = sorted(((name, int(count)) for name, count in counts if count), key=lambda s: (-s[1], s[0]))
    return Finding(title, remedy, tuple(subjects))


def _unlinked(graph: DependencyGraph) -> Iterable[Finding]:
    table = graph.coverage.by_service
    for reason in graph.coverage.unlinked:
        if reason not in EXPLAINED:
            counts = zip(table["service"], table[reason], strict=True)
            remedy = _REMEDIES.get(reason, "see the rules in docs/linking.md")
            yield _finding(f"spans that are no side of a call: {reason}", remedy, counts)


def _broken_context(graph: DependencyGraph) -> Finding:
    spans = graph.rollups.operations.group_by("service").aggregate([("missing_parents", "sum")]).to_pydict()
    return _finding(
        "spans whose parent was not recorded",
        "a caller or a proxy in between passes on a traceparent but exports no spans, or its spans are sampled away or "
        "dropped: let it export, sample whole traces (parent-based), and check the exporters' queues",
        zip((service or "" for service in spans["service"]), spans["missing_parents_sum"], strict=True),
    )


def _without_client(graph: DependencyGraph) -> Finding:
    edges = graph.edges
    alone = edges[(edges["client_count"] < edges["count"]) & (edges["kind"] == "service")]
    missing = alone["count"] - alone["client_count"] - alone["missing_parents"]
    return _finding(
        "calls without a client span: their network time is unknown",
        "instrument the caller's client library",
        zip(alone["source"] + " -> " + alone["target"], missing.clip(lower=0), strict=True),
    )


def _unnamed(graph: DependencyGraph) -> Finding:
    table = graph.coverage.by_service
    unnamed = table[table["service"].eq("") | table["service"].str.contains("(?:^|/)unknown_service")]
    return _finding(
        "spans without a service name",
        "set OTEL_SERVICE_NAME or the resource attribute service.name",
        zip(unnamed["service"].replace("", "(none)"), unnamed["spans"], strict=True),
    )


def _uninstrumented(graph: DependencyGraph) -> Finding:
    peers = graph.nodes[graph.nodes["kind"] == "external"]
    return _finding(
        "peers that report no spans of their own",
        "instrument them if they are yours; else nothing",
        zip(peers["id"], peers["count"].fillna(0), strict=True),
    )


def _too_many_operations(graph: DependencyGraph) -> Finding:
    operations = graph.rollups.operations.select(["service", "operation", "count"]).to_pandas()
    folded = operations[operations["operation"] == OTHER].groupby("service")["count"].sum()
    return _finding(
        "spans of operations beyond the limit per service, kept under one name",
        "span names hold ids or paths: use the route's template",
        zip(folded.index, folded, strict=True),
    )


def _named_otherwise(graph: DependencyGraph) -> Finding:
    matched = graph.matched
    return _finding(
        "calls of metrics that spans tell under other names, so that neither can check the other",
        "give metrics the names of spans: the same peer attributes, and service.namespace, deployment.environment.name "
        "and k8s.cluster.name as dimensions (docs/linking.md, What metrics tell)",
        ((f"{a} -> {b} ({matched.rules[a, b]})", count) for (a, b), count in matched.covered.items()),
    )
