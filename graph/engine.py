"""DuckDB as a function: named queries of ``graph/sql`` over Arrow tables, within bounds of memory and disk."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.resources import files

import duckdb
import pyarrow as pa

# Bounds so that a spilling query can fill neither memory nor disk.
_MEMORY_LIMIT = "1500MB"
_SPILL_LIMIT = "8GB"


def query(name: str) -> str:
    """Return the text of ``graph/sql/<name>.sql``."""
    return files("hypocenter.graph.sql").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def run(name: str, tables: Mapping[str, pa.Table]) -> pa.Table:
    """Return the result of the named query over ``tables``, read whole before the connection closes."""
    with tempfile.TemporaryDirectory(prefix="hypocenter-") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": spill,
            "max_temp_directory_size": _SPILL_LIMIT,
        }
        connection = duckdb.connect(config=settings)
        try:
            for table_name, table in tables.items():
                connection.register(table_name, table)
            return connection.sql(query(name)).to_arrow_table()
        finally:
            connection.close()
