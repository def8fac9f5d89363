"""A graph that a file tells without times, as Jaeger's page of dependencies exports it, as rollups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..tracer.readers.dependency_graph import read_graph
from ..tracer.source import open_source
from .rollup import EDGES, Rollups, empty


def read(path: Path | str) -> Rollups:
    """Return the edges of a file (`hypocenter.tracer.readers.dependency_graph`) in one step at the epoch.

    A count of 0 is unknown: lists of edges and matrices tell none. No side of a call was recorded.
    """
    with open_source(path) as source:
        calls = read_graph(source)
    row: dict[str, Any] = dict.fromkeys(EDGES.names, 0) | {"caller_kind": "service", "callee_kind": "service"}
    row |= {field.name: [] for field in EDGES if pa.types.is_list(field.type)}
    edges = [
        row | {"caller": caller, "callee": callee, "count": count, "adjusted_milli": 1000 * count}
        for caller, callee, count in sorted(calls.edges(data="count", default=0))
    ]
    return replace(empty(), edges=pa.Table.from_pylist(edges, EDGES))
