"""Tiny rollups by hand: `graph(edge("web", "cart", count=3))`."""

from typing import Any

import pyarrow as pa

from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.histogram import bucket
from hypocenter.graph.rollup import SCHEMAS, Rollups
from hypocenter.tracer.window import SECOND_NS, Window


def histogram(durations_s: dict[float, int]) -> list[dict[str, int]]:
    """Return the histogram of durations in seconds and how often each occurs."""
    counts: dict[int, int] = {}
    for seconds, count in durations_s.items():
        number = bucket(round(seconds * SECOND_NS))
        counts[number] = counts.get(number, 0) + count
    return [{"bucket": number, "count": counts[number]} for number in sorted(counts)]


def edge(caller: str, callee: str, count: int = 10, *, at_s: float = 0, **more: Any) -> dict[str, Any]:
    """Return a row of calls that both sides recorded, but for an outside caller and a callee that is no service."""
    outside, virtual = caller == "external", more.get("callee_kind", "service") != "service"
    row = {"time_ns": int(at_s * SECOND_NS), "caller": caller, "callee": callee, "callee_kind": "service"}
    row |= {"caller_kind": "external" if outside else "service", "count": count, "adjusted_milli": count * 1000}
    row |= {
        "client_count": 0 if outside else count,
        "server_count": 0 if virtual else count,
        "missing_parents": 0,
        **dict.fromkeys(("http_4xx", "http_5xx", "timeouts", "retries", "hedges"), 0),
        "caller_requests": 0 if outside else count,
        "critical_ns": 0,
    }
    row |= {f"{side}_errors": more.get("errors", 0) for side in ("client", "server")}
    return row | {"errors": 0, "client_duration": [], "server_duration": [], "gap": [], "queue": []} | more


def rollups(
    *edges: dict[str, Any],
    namespaces: dict[str, str] | None = None,
    unlinked: tuple[tuple[str, str, int], ...] = (),
) -> Rollups:
    """Return the rollups of edges, services' namespaces and (service, reason, count)."""
    no_histogram: dict[str, Any] = {"duration": [], "exclusive": []}
    instances = [
        dict.fromkeys(SCHEMAS["instances"].names)
        | {"time_ns": 0, "service": service, "namespace": namespace, "count": 1, "adjusted_milli": 1000}
        | {"requests": 0, "errors": 0, "critical_ns": 0}
        | no_histogram
        for service, namespace in (namespaces or {}).items()
    ]
    lost = [{"time_ns": 0, "service": s, "reason": reason, "count": count} for s, reason, count in unlinked]
    return Rollups(
        pa.Table.from_pylist(list(edges), SCHEMAS["edges"]),
        SCHEMAS["operations"].empty_table(),
        pa.Table.from_pylist(instances, SCHEMAS["instances"]),
        pa.Table.from_pylist(lost, SCHEMAS["unlinked"]),
    )


def graph(*edges: dict[str, Any], end_s: float = 10, **more: Any) -> DependencyGraph:
    """Return the graph of the first ``end_s`` seconds of the epoch."""
    return DependencyGraph.of(rollups(*edges, **more), Window(0, int(end_s * SECOND_NS)))
