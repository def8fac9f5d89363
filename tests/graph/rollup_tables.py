"""Tiny rollups by hand: `rollups(edge("web", "cart", count=3))`."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.tracer.window import SECOND_NS, Window

HISTOGRAM = pa.list_(pa.struct([("bucket", pa.int16()), ("count", pa.int64())]))
EDGES = pa.schema(
    [("time_ns", pa.int64()), ("caller", pa.string()), ("callee", pa.string()), ("callee_kind", pa.string())]
    + [(name, pa.int64()) for name in ("count", "adjusted_milli", "errors", "client_errors", "server_errors")]
    + [(name, pa.int64()) for name in ("client_count", "server_count", "missing_parents")]
    + [("caller_kind", pa.string())]
    + [(name, HISTOGRAM) for name in ("client_duration", "server_duration", "gap", "queue")]
)
OPERATIONS = pa.schema(
    [("time_ns", pa.int64()), ("service", pa.string()), ("service_namespace", pa.string()), ("count", pa.int64())]
)
UNLINKED = pa.schema(
    [("time_ns", pa.int64()), ("service", pa.string()), ("reason", pa.string()), ("count", pa.int64())]
)


@dataclass(frozen=True)
class Rollups:
    edges: pa.Table
    operations: pa.Table
    instances: pa.Table
    unlinked: pa.Table


def bucket(seconds: float) -> int:
    """Return the bucket of a duration that is a power of two of nanoseconds times some octaves."""
    import math

    return math.ceil(round(math.log2(seconds * 1e9) * 16, 6)) + 1


def histogram(durations_s: dict[float, int]) -> list[dict[str, int]]:
    """Return the histogram of durations and how often each occurs."""
    return [{"bucket": bucket(seconds), "count": count} for seconds, count in sorted(durations_s.items())]


def edge(caller: str, callee: str, count: int = 10, *, at_s: float = 0, **more: Any) -> dict[str, Any]:
    """Return a row of calls that both sides recorded, but for an outside caller and a callee that is no service."""
    outside, virtual = caller == "external", more.get("callee_kind", "service") != "service"
    row = {"time_ns": int(at_s * SECOND_NS), "caller": caller, "callee": callee, "callee_kind": "service"}
    row |= {"caller_kind": "external" if outside else "service", "count": count, "adjusted_milli": count * 1000}
    row |= {"client_count": 0 if outside else count, "server_count": 0 if virtual else count, "missing_parents": 0}
    row |= {f"{side}_errors": more.get("errors", 0) for side in ("client", "server")}
    return row | {"errors": 0, "client_duration": [], "server_duration": [], "gap": [], "queue": []} | more


def rollups(
    *edges: dict[str, Any],
    namespaces: dict[str, str] | None = None,
    unlinked: tuple[tuple[str, str, int], ...] = (),
) -> Rollups:
    operations = [
        {"time_ns": 0, "service": service, "service_namespace": namespace, "count": 1}
        for service, namespace in (namespaces or {}).items()
    ]
    lost = [{"time_ns": 0, "service": s, "reason": reason, "count": count} for s, reason, count in unlinked]
    return Rollups(
        pa.Table.from_pylist(list(edges), EDGES),
        pa.Table.from_pylist(operations, OPERATIONS),
        OPERATIONS.empty_table(),
        pa.Table.from_pylist(lost, UNLINKED),
    )


def graph(*edges: dict[str, Any], end_s: float = 10, **more: Any) -> DependencyGraph:
    return DependencyGraph.of(rollups(*edges, **more), Window(0, int(end_s * SECOND_NS)))
