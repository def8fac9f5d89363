"""A dependency graph in the languages of other tools; names are quoted, since telemetry may hold anything."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import networkx as nx
import pandas as pd

from ..tracer.window import to_rfc3339

if TYPE_CHECKING:
    from .dependency_graph import DependencyGraph

# What XML 1.0 cannot hold, not even escaped, and the carriage return, which its readers make a line feed.
_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
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


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _clean_names(names: Iterable[str]) -> dict[str, str]:
    """Return what each name is written as; of several that would be written alike, the later ones have a number."""
    ordered = sorted(names)
    written = {name: name for name in ordered if _clean(name) == name}
    taken = set(written)
    for name in (name for name in ordered if name not in written):
        numbered = (f"{_clean(name)} ({number})" for number in itertools.count(2))
        written[name] = next(free for free in itertools.chain([_clean(name)], numbered) if free not in taken)
        taken.add(written[name])
    return written


def to_graphml(graph: DependencyGraph) -> str:
    """Return GraphML; characters that XML forbids become U+FFFD, and names stay apart."""
    calls = to_networkx(graph)
    for *_, known in (*calls.nodes(data=True), *calls.edges(data=True)):
        known |= {key: _clean(value) for key, value in known.items() if isinstance(value, str)}
    written = nx.relabel_nodes(calls, _clean_names(calls))
    # By line, as networkx gives it too, a name would lose characters that Python takes for ends of lines.
    return f"{nx.GraphMLWriter(graph=written, named_key_ids=True)}\n"


def _dot_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def to_dot(graph: DependencyGraph) -> str:
    """Return the graph in Graphviz' language, pen width by traffic, label by rate and errors."""
    lines = ["digraph dependencies {", "  rankdir=LR;", "  node [shape=ellipse];"]
    name = _clean_names(graph.nodes["id"])
    for node in records(graph.nodes):
        shape = _DOT_SHAPES.get(node["kind"])
        lines.append(f"  {_dot_quoted(name[node['id']])}{f' [shape={shape}]' if shape else ''};")
    for edge in records(graph.edges):
        width = 1 + math.log10(1 + (edge["count"] or 0)) / 2
        label = _dot_quoted(edge_label(edge))
        ends = f"{_dot_quoted(name[edge['source']])} -> {_dot_quoted(name[edge['target']])}"
        lines.append(f"  {ends} [label={label}, penwidth={width:.1f}];")
    return "\n".join([*lines, "}", ""])


def _mermaid_quoted(text: str) -> str:
    """Return a label that says the text: what may mean something to Mermaid, HTML or Markdown is an entity code."""
    plain = "".join(
        c if c.isalnum() or c in " -_./" else f"#{ord(c)};" if c.isprintable() else " " if c in "\t\n" else "\ufffd"
        for c in text
    )
    return f'"{plain or " "}"'


def to_mermaid(graph: DependencyGraph) -> str:
    """Return a Mermaid flowchart; nodes have numbers for names and their names as quoted labels."""
    number = {node: f"n{i}" for i, node in enumerate(graph.nodes["id"])}
    lines = ["flowchart LR"]
    for node in records(graph.nodes):
        shape = _MERMAID_SHAPES.get(node["kind"], "({})")
        lines.append(f"  {number[node['id']]}{shape.format(_mermaid_quoted(node['id']))}")
    for edge in records(graph.edges):
        label = edge_label(edge)
        told = f'|"{label}"|' if label else ""
        lines.append(f"  {number[edge['source']]} -->{told} {number[edge['target']]}")
    return "\n".join([*lines, ""])


def edge_label(edge: dict[str, Any]) -> str:
    """Return ``12/s, 3 % errors``, errors only where there are some; the calls of a graph without times."""
    if edge["rate_per_s"] is None:
        return "" if edge["count"] is None else f"{edge['count']:,} calls"
    errors = f", {edge['error_ratio']:.1%} errors" if edge["error_ratio"] else ""
    rate = edge["rate_per_s"]
    return f"{rate:,.0f}/s{errors}" if rate >= 100 else f"{rate:.3g}/s{errors}"
