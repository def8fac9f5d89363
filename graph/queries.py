"""The named queries of ``graph/sql``, and DuckDB as a function of them, within bounds of memory and disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any

import duckdb
import pyarrow as pa

# Bounds so that a spilling query can fill neither memory nor disk.
_MEMORY_LIMIT = "1GB"
_SPILL_LIMIT = "16GB"

# Runs a named query over tables (`hypocenter.graph.engine.Engine.run`, or `run_in` of an open database).
Run = Callable[[str, Mapping[str, Any]], pa.Table]


@cache
def query(name: str) -> str:
    """Return the text of ``graph/sql/<name>.sql``."""
    return files("hypocenter.graph.sql").joinpath(f"{name}.sql").read_text(encoding="utf-8")


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory database; what it spills goes when it closes."""
    with tempfile.TemporaryDirectory(prefix="hypocenter-") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": spill,
            "max_temp_directory_size": _SPILL_LIMIT,
            # The tables are small; what is large is worked on by threads of its own (`hypocenter.graph.slices`).
            "threads": 1,
        }
        connection = duckdb.connect(config=settings)
        try:
            yield connection
        finally:
            connection.close()


def run_in(connection: duckdb.DuckDBPyConnection, name: str, tables: Mapping[str, Any]) -> pa.Table:
    """Return the result of the named query in an open database."""
    for table_name, table in tables.items():
        connection.register(table_name, table)
    try:
        return connection.sql(query(name)).to_arrow_table()
    finally:
        for table_name in tables:
            connection.unregister(table_name)
