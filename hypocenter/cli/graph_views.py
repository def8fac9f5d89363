"""What ``hypocenter graph`` prints: its edges in every format, and the tables beside them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .text import aligned, milliseconds, printable

if TYPE_CHECKING:
    import pandas as pd

    from ..graph.dependency_graph import DependencyGraph
    from ..tracer.store import Store

_MOST_ROWS = 30
_SHOWN_DURATIONS = (("client", "p50"), ("client", "p95"), ("server", "p50"), ("server", "p95"), ("gap", "p50"))


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
    columns = [
        ("caller", [printable(name) for name in edges["source"]]),
        ("callee", [printable(name) for name in edges["target"]]),
        ("kind", list(edges["kind"])),
        ("calls", ["-" if math.isnan(stand_for) else f"{count:,}" for count, stand_for in counts]),
        ("calls/s", ["-" if math.isnan(rate) else f"{rate:.3g}" for rate in edges["rate_per_s"]]),
        ("errors", ["-" if math.isnan(r) else f"{r:.2%}" if r else "0" for r in edges["error_ratio"]]),
        *_attempts(edges),
        *((f"{side} {q}", [milliseconds(v) for v in edges[f"{side}_{q}_s"]]) for side, q in _SHOWN_DURATIONS),
    ]
    rows = list(zip(*(values for _, values in columns), strict=True))
    lines = aligned([[name for name, _ in columns], *rows], left=3) if rows else []
    return "\n".join([*lines, *([""] if lines else []), f"coverage: {graph.coverage}", ""])


def _attempts(edges: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Return the columns of how often a request calls, and calls again, where some request does."""
    per_request = edges["calls_per_request"]
    found = [("per request", ["-" if math.isnan(n) else f"{n:.3g}" for n in per_request])]
    again = edges["retries"].fillna(0) + edges["hedges"].fillna(0)
    if again.any():
        found.append(("again", [f"{n:,}" if n else "-" for n in again]))
    return found if (per_request > 1).any() else []


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
    return "\n\n".join(f"{title}\n{_text(table)}" for title, table in tables.items()) + "\n"


def _text(table: pd.DataFrame) -> str:
    from ..graph.export import records

    shown = table.dropna(axis=1, how="all").head(_MOST_ROWS)
    rows = [[_cell(name, value) for name, value in row.items()] for row in records(shown)]
    if not rows:
        return "  none"
    texts = sum(isinstance(value, str) for value in records(shown)[0].values())
    lines = aligned([[name.replace("_", " ") for name in shown.columns], *rows], left=texts)
    more = [f"and {len(table) - len(shown):,} more"] if len(table) > len(shown) else []
    return "\n".join(f"  {line}" for line in [*lines, *more])


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, str):
        return printable(value)
    if name.endswith(("p50_s", "p95_s")):
        return milliseconds(value)
    if name.endswith(("share", "ratio")):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
