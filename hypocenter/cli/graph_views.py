"""Tables of ``hypocenter graph`` beside the edges: operations, replicas, blast radius."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ..graph.dependency_graph import DependencyGraph

_MOST_ROWS = 30


def tables_of(
    graph: DependencyGraph, *, operations: bool, instances: bool, impact: str | None
) -> dict[str, pd.DataFrame]:
    """Return the tables that were asked for, by their title."""
    found: dict[str, pd.DataFrame] = {}
    if operations:
        found["operations"] = graph.operations
    if instances:
        found["instances"] = graph.instances
    if impact is not None:
        found["depends on it"] = graph.upstream(impact)
        found["it depends on"] = graph.downstream(impact)
        found["entry points affected"] = graph.entry_points_affected(impact)
        found["criticality of all"] = graph.criticality()
    return found


def show(tables: dict[str, pd.DataFrame], output: str) -> str:
    """Return tables as text, or as one JSON object by title."""
    from ..graph.export import records

    if output == "json":
        told = {title.replace(" ", "_"): records(table) for title, table in tables.items()}
        return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return "\n\n".join(f"{title}\n{_text(table)}" for title, table in tables.items()) + "\n"


def _text(table: pd.DataFrame) -> str:
    from ..graph.export import records
    from .graph import aligned

    shown = table.dropna(axis=1, how="all").head(_MOST_ROWS)
    rows = [[_cell(name, value) for name, value in row.items()] for row in records(shown)]
    if not rows:
        return "  none"
    texts = sum(isinstance(value, str) for value in records(shown)[0].values())
    lines = aligned([[name.replace("_", " ") for name in shown.columns], *rows], left=texts)
    more = [f"and {len(table) - len(shown):,} more"] if len(table) > len(shown) else []
    return "\n".join(f"  {line}" for line in [*lines, *more])


def _cell(name: str, value: Any) -> str:
    from .graph import milliseconds, printable

    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, str):
        return printable(value)
    if name.endswith(("p50_s", "p95_s")):
        return milliseconds(value)
    if name.endswith(("share", "ratio")):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
