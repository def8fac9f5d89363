"""A dependency graph in the languages of other tools; names are quoted, since telemetry may hold anything."""

from __future__ import annotations

import html
import json
import math
import re
from typing import TYPE_CHECKING, Any

import networkx as nx
import pandas as pd

from ..tracer.window import to_rfc3339

if TYPE_CHECKING:
    from .dependency_graph import DependencyGraph

# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DOT_SHAPES = {"database": "cylinder", "cache": "cylinder", "messaging": "cds", "external": "box", "entry": "point"}
_MERMAID_SHAPES = {"database": "[({})]", "cache": "[({})]", "messaging": ">{}]", "external": "[{}]", "entry": "(({}))"}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows with plain Python values, None where unknown."""
    columns = {
        name: [None if pd.isna(value) else value.item() if hasattr(value, "item") else value for value in frame[name]]
        for name in frame.columns
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _known(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def window_of(graph: DependencyGraph) -> dict[str, str]:
    """Return ``{"start", "end"}`` of a graph in RFC 3339; nothing for one without times."""
    if not graph.windows:
        return {}
    return {"start": to_rfc3339(graph.window.start_ns), "end": to_rfc3339(graph.window.end_ns)}


def to_json(graph: DependencyGraph) -> dict[str, Any]:
    """Return ``{"window": {"start", "end"}, "nodes": [...], "edges": [...], "coverage": {...}}``; null is unknown."""
    return {
        "window": window_of(graph) or None,
        "nodes": records(graph.nodes),
        "edges": records(graph.edges),
        "coverage": graph.coverage.to_dict(),
    }


def to_networkx(graph: DependencyGraph) -> nx.DiGraph[str]:
    """Return a directed graph; nodes and edges carry what is known of them, the graph its window."""
    result: nx.DiGraph[str] = nx.DiGraph(None, duration_s=graph.duration_s)
    result.graph.update(window_of(graph))
    for node in records(graph.nodes):
        result.add_node(node.pop("id"), **_known(node))
    for edge in records(graph.edges):
        result.add_edge(edge.pop("source"), edge.pop("target"), **_known(edge))
    return result


def to_node_link(graph: DependencyGraph) -> dict[str, Any]:
    """Return NetworkX' node-link form (``nx.node_link_graph(..., edges="links")`` reads it)."""
    result: dict[str, Any] = nx.node_link_data(to_networkx(graph), edges="links")
    return result


def to_graphml(graph: DependencyGraph) -> str:
    """Return GraphML; characters that XML forbids become U+FFFD."""
    calls = to_networkx(graph)
    clean = nx.relabel_nodes(calls, {name: _NOT_XML.sub("\ufffd", name) for name in calls})
    return "\n".join(nx.generate_graphml(clean, named_key_ids=True)) + "\n"


def _dot_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def to_dot(graph: DependencyGraph) -> str:
    """Return the graph in Graphviz' language, pen width by traffic, label by rate and errors."""
    lines = ["digraph dependencies {", "  rankdir=LR;", "  node [shape=ellipse];"]
    for node in records(graph.nodes):
        shape = _DOT_SHAPES.get(node["kind"])
        lines.append(f"  {_dot_quoted(node['id'])}{f' [shape={shape}]' if shape else ''};")
    for edge in records(graph.edges):
        width = 1 + math.log10(1 + (edge["count"] or 0)) / 2
        label = _dot_quoted(edge_label(edge))
        ends = f"{_dot_quoted(edge['source'])} -> {_dot_quoted(edge['target'])}"
        lines.append(f"  {ends} [label={label}, penwidth={width:.1f}];")
    return "\n".join([*lines, "}", ""])


def to_mermaid(graph: DependencyGraph) -> str:
    """Return a Mermaid flowchart; nodes have numbers for names and their names as quoted labels."""
    number = {node: f"n{i}" for i, node in enumerate(graph.nodes["id"])}
    lines = ["flowchart LR"]
    for node in records(graph.nodes):
        # Mermaid takes HTML entities in quoted labels, written with # in place of &.
        text = html.escape(node["id"]).replace("#", "#35;").replace("&", "#").replace("\n", " ")
        lines.append(
            f"  {number[node['id']]}{_MERMAID_SHAPES.get(node['kind'], '({})').format(chr(34) + text + chr(34))}"
        )
    lines += [
        f'  {number[edge["source"]]} -->|"{edge_label(edge)}"| {number[edge["target"]]}'
        for edge in records(graph.edges)
    ]
    return "\n".join([*lines, ""])


def edge_label(edge: dict[str, Any]) -> str:
    """Return ``12/s, 3 % errors``, errors only where there are some; the calls of a graph without times."""
    if edge["rate_per_s"] is None:
        return "" if edge["count"] is None else f"{edge['count']:,} calls"
    errors = f", {edge['error_ratio']:.1%} errors" if edge["error_ratio"] else ""
    return f"{edge['rate_per_s']:.3g}/s{errors}"


def to_grafana(graph: DependencyGraph) -> dict[str, list[dict[str, Any]]]:
    """Return the two frames of Grafana's node graph panel: ``nodes`` and ``edges`` with its field names."""
    nodes = [
        {
            "id": node["id"],
            "title": node["id"],
            "subtitle": node["namespace"] or node["kind"],
            "mainstat": node["server_p95_s"],
            "secondarystat": node["rate_per_s"],
            "arc__errors": node["error_ratio"],
            "arc__success": None if node["error_ratio"] is None else 1 - node["error_ratio"],
        }
        for node in records(graph.nodes)
    ]
    edges = [
        {
            "id": json.dumps([edge["source"], edge["target"]]),
            "source": edge["source"],
            "target": edge["target"],
            "mainstat": edge["rate_per_s"],
            "secondarystat": edge["client_p95_s"],
            "detail__errors": edge["errors"],
        }
        for edge in records(graph.edges)
    ]
    return {"nodes": nodes, "edges": edges}
