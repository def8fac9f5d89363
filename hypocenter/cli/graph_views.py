"""What ``hypocenter graph`` prints: its edges in every format, and the tables beside them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .text import milliseconds, printable, table, terminal_width

if TYPE_CHECKING:
    import pandas as pd

    from ..graph.dependency_graph import DependencyGraph
    from ..tracer.store import Store

_MOST_ROWS = 30
_DURATIONS = ("p50_s", "p95_s")
_SHOWN_DURATIONS = (("client", "p50"), ("client", "p95"), ("server", "p50"), ("server", "p95"), ("gap", "p50"))
# What a narrow terminal does without, the least missed first.
_SPARE = ("gap p50", "client p50", "server p50", "per request", "again", "calls/s", "kind")
_SPARE_OF_TABLES = (
    *("environment", "namespace", "adjusted count", "rate per s", "instance", "exclusive p50", "critical s", "errors"),
    *("node", "exclusive p95", "p50", "server p50", "kind", "spans", "pod"),
)


def show(graph: DependencyGraph, output: str) -> str:
    """Return the edges of a graph as a table, or in the format of another tool."""
    if output in ("json", "grafana"):
        told = graph.to_json() if output == "json" else graph.to_grafana()
        return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if output == "text":
        return _edges(graph)
    if output == "openmetrics":
        from ..graph.metrics_text import to_openmetrics

        return to_openmetrics(replace(graph.rollups, edges=graph.known), graph.window)
    return {"graphml": graph.to_graphml, "dot": graph.to_dot, "mermaid": graph.to_mermaid}[output]()


def _edges(graph: DependencyGraph) -> str:
    edges = graph.edges
    counts = zip(edges["count"], edges["adjusted_count"], strict=True)
    columns = {
        "caller": [printable(name) for name in edges["source"]],
        "callee": [printable(name) for name in edges["target"]],
        "kind": list(edges["kind"]),
        "calls": ["-" if math.isnan(stand_for) else f"{count:,}" for count, stand_for in counts],
        "calls/s": ["-" if math.isnan(rate) else f"{rate:.3g}" for rate in edges["rate_per_s"]],
        "errors": ["-" if math.isnan(r) else f"{r:.2%}" if r else "0" for r in edges["error_ratio"]],
        **_attempts(edges),
        **{f"{side} {q}": [milliseconds(v) for v in edges[f"{side}_{q}_s"]] for side, q in _SHOWN_DURATIONS},
    }
    lines = table(columns, left=3, spare=_SPARE, width=terminal_width()) if len(edges) else []
    return "\n".join([*lines, *([""] if lines else []), f"coverage: {graph.coverage}", ""])


def _attempts(edges: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns of how often a request calls, and calls again, where some request does."""
    per_request = edges["calls_per_request"]
    if not (per_request > 1).any():
        return {}
    found = {"per request": ["-" if math.isnan(n) else f"{n:.3g}" for n in per_request]}
    again = edges["retries"].fillna(0) + edges["hedges"].fillna(0)
    if again.any():
        found["again"] = [f"{n:,}" if n else "-" for n in again]
    return found


def tables_of(
    graph: DependencyGraph,
    *,
    operations: bool = False,
    instances: bool = False,
    impact: str | None = None,
    ways: str | None = None,
    store: Store | None = None,
) -> dict[str, pd.DataFrame]:
    """Return the tables that were asked for, by their title; ways are followed through the spans of the store."""
    found: dict[str, pd.DataFrame] = {}
    if operations:
        found["operations"] = graph.operations
    if instances:
        found["instances"] = graph.instances
    if impact is not None:
        found["depends on it"] = graph.upstream(impact)
        found["it depends on"] = graph.downstream(impact)
        found["entry points affected"] = graph.entry_points_affected(impact)
        found["cut services"] = graph.cut_services()
        found["criticality of all"] = graph.criticality()
    if ways is not None and store is not None:
        from ..graph.ways import ways as ways_to

        found["ways"] = ways_to(store, graph.window, ways)
    return found


def show_tables(tables: dict[str, pd.DataFrame], output: str) -> str:
    """Return tables as text, or as one JSON object by title."""
    from ..graph.export import records

    if output == "json":
        told = {title.replace(" ", "_"): records(table) for title, table in tables.items()}
        return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return "\n\n".join(f"{title}\n{_text(frame)}" for title, frame in tables.items()) + "\n"


def _text(frame: pd.DataFrame) -> str:
    from ..graph.export import records

    rows = records(frame.dropna(axis=1, how="all").head(_MOST_ROWS))
    if not rows:
        return "  none"
    columns = {_heading(name): [_cell(name, row[name]) for row in rows] for name in rows[0]}
    if columns.get("adjusted count") == columns.get("count"):
        columns.pop("adjusted count", None)
    texts = sum(isinstance(value, str) for value in rows[0].values())
    width = terminal_width()
    lines = table(columns, left=texts, spare=_SPARE_OF_TABLES, width=width and width - 2)
    more = [f"and {len(frame) - len(rows):,} more"] if len(frame) > len(rows) else []
    return "\n".join(f"  {line}" for line in [*lines, *more])


def _heading(name: str) -> str:
    # Cells of durations have their unit.
    return (name.removesuffix("_s") if name.endswith(_DURATIONS) else name).replace("_", " ")


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, str):
        return printable(value)
    if name.endswith(_DURATIONS):
        return milliseconds(value)
    if name.endswith(("share", "ratio")):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
