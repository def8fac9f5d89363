"""The paths of many traces: every span on one path, own time and whole time summed."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from hypocenter.graph.flame import COLUMNS, paths

SERVER, CLIENT = 2, 3


def visits(*rows: tuple[str, str, str | None, str, int, int, int]) -> pa.Table:
    names = ["trace_id", "span_id", "parent_span_id", "service", "kind", "duration_ns", "exclusive_ns"]
    frame = pd.DataFrame(rows, columns=names).assign(operation="op", is_error=False)
    return pa.Table.from_pandas(frame, preserve_index=False)


def told(table: pa.Table) -> list[tuple[Any, ...]]:
    found = paths(table)
    return list(found[["parent", "service", "count", "total_s", "self_s"]].itertuples(index=False, name=None))


def test_traces_of_one_shape_are_one_tree() -> None:
    s = 10**9
    table = visits(
        ("t1", "a", None, "web", SERVER, 4 * s, 1 * s),
        ("t1", "b", "a", "db", SERVER, 3 * s, 3 * s),
        ("t2", "a", None, "web", SERVER, 2 * s, 2 * s),
        ("t2", "c", "a", "cart", SERVER, 1 * s, 1 * s),
    )
    assert told(table) == [(-1, "web", 2, 6.0, 3.0), (0, "db", 1, 3.0, 3.0), (0, "cart", 1, 1.0, 1.0)]


def test_shared_ids_orphans_circles_and_nothing_lose_no_span() -> None:
    table = visits(
        ("t", "a", None, "web", CLIENT, 5, 1),
        ("t", "a", None, "pay", SERVER, 4, 4),
        ("t", "x", "gone", "lost", SERVER, 1, 1),
        ("t", "y", "y", "self", SERVER, 1, 1),
    )
    assert [(row[0], row[1]) for row in told(table)] == [(-1, "web"), (-1, "lost"), (-1, "self"), (0, "pay")]
    assert list(paths(visits()).columns) == COLUMNS
