"""Graphs without time: adjacency matrices, lists of edges, and what Jaeger's dependency page exports."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally
from ..delimited import header_of
from ..source import Source

if TYPE_CHECKING:
    import networkx as nx

NAME = "dependency-graph"
_EDGE_LIST = ["Source", "Target", "Weight"]
_LIMIT_BYTES = 256 << 20


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the header of a list of edges, by cells of 0 and 1, or by the keys of Jaeger's JSON."""
    if head.lstrip()[:1] in (b"[", b"{"):
        return all(f'"{key}"'.encode() in head for key in ("parent", "child", "callCount"))
    lines = head.split(b"\n", 2)
    header = header_of(lines[0])
    if header == _EDGE_LIST:
        return True
    second = header_of(lines[1]) if len(lines) > 1 else []
    return header[:1] == [""] and len(header) > 1 and bool(second[1:]) and set(second[1:]) <= {"0", "1", "0.0", "1.0"}


def read(source: Source) -> Iterator[Batch]:
    """Yield no rows: a graph without times is given to an analysis (`read_graph`), it is no telemetry to store."""
    tally = Tally()
    edges = read_graph(source).number_of_edges()
    tally.drop("edge of a graph without times, not stored", source.name, edges)
    yield Batch(tally=tally)


def read_graph(source: Source) -> nx.DiGraph[str]:
    """Return the graph, caller -> callee, with ``count`` on the edges where the file has one.

    In a matrix the row calls the column where the cell is 1. Raises DecodeError when it is none of the three forms.
    """
    import networkx as nx

    content = source.stream.read(_LIMIT_BYTES + 1)
    if len(content) > _LIMIT_BYTES:
        raise DecodeError(source.name, f"byte {_LIMIT_BYTES}", "a graph file is at most 256 MiB")
    graph: nx.DiGraph[str] = nx.DiGraph()
    if content.lstrip()[:1] in (b"[", b"{"):
        graph.add_edges_from(
            (edge["parent"], edge["child"], {"count": edge["callCount"]}) for edge in _links(source, content)
        )
        return graph
    table = list(csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline="")))
    if table and table[0] == _EDGE_LIST:
        graph.add_edges_from((row[0], row[1]) for row in table[1:] if len(row) == len(_EDGE_LIST))
    elif table and table[0][:1] == [""]:
        graph.add_nodes_from(row[0] for row in table[1:] if row)
        for row in table[1:]:
            graph.add_edges_from(
                (row[0], callee) for callee, cell in zip(table[0][1:], row[1:], strict=False) if _is_one(cell)
            )
    else:
        raise DecodeError(source.name, "line 1", "expected a 0/1 matrix, Source,Target,Weight, or Jaeger dependencies")
    return graph


def _is_one(cell: str) -> bool:
    try:
        return float(cell) == 1
    except ValueError:
        return False


def _links(source: Source, content: bytes) -> list[dict[str, Any]]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DecodeError(source.name, f"character {error.pos}", f"not JSON: {error.msg}") from error
    links = found.get("data") if isinstance(found, dict) else found
    if not isinstance(links, list):
        raise DecodeError(source.name, "JSON", "expected a list of {parent, child, callCount}")
    for place, link in enumerate(links):
        if not (isinstance(link, dict) and all(isinstance(link.get(k), str) for k in ("parent", "child"))):
            raise DecodeError(source.name, f"item {place}", "expected {parent, child, callCount}")
        if type(link.get("callCount")) is not int:
            raise DecodeError(source.name, f"item {place}", "callCount is not a whole number")
    return links
