"""Two graphs as one map: calls that appeared, vanished, or changed for the worse or the better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from .look import in_one_look
from .map_scale import CHANGES
from .service_map import Record, ServiceMap, with_traffic

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..graph.dependency_graph import DependencyGraph


@in_one_look
def diff_map(before: DependencyGraph, after: DependencyGraph, changes: pd.DataFrame) -> go.Figure:
    """Return the calls of both graphs on one map, the edges coloured and dashed by what became of them.

    Parameters
    ----------
    before, after
        Their nodes and edges; what is in both is shown as it is in ``after``.
    changes
        The rows that count (`hypocenter.graph.diff.GraphDiff.told`): ``source``, ``target``, ``change``, ``measure``,
        ``effect`` and ``text``.
    """
    nodes: dict[str, Record] = {}
    edges: dict[tuple[str, str], Record] = {}
    for graph in (before, after):
        nodes |= {n["id"]: n | {"change": 0.0} for n in with_traffic(graph.nodes, "count").to_dict("records")}
        for edge in with_traffic(graph.edges, "adjusted_count").to_dict("records"):
            edges[edge["source"], edge["target"]] = edge | {"change": 0.0, "changes": []}
    for row in changes.itertuples():
        edge = edges[row.source, row.target]
        edge["change"] = max(edge["change"], float(CHANGES.index(_became(row))))
        edge["changes"].append(row.text)
    counts = changes.drop_duplicates(["source", "target", "change"]).change.value_counts()
    told = ", ".join(f"{counts.get(what, 0):,} {what}" for what in ("appeared", "vanished", "changed"))
    return ServiceMap(nodes, edges, (), None, "change", None).figure(f"Calls: {told}")


def _became(row: Any) -> str:
    if row.change != "changed":
        return str(row.change)
    if row.measure == "rate_per_s":
        return "rate"
    return "worse" if row.effect > (0 if row.measure == "error_ratio" else 1) else "better"
