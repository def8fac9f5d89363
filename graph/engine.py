"""DuckDB as a function: named queries of ``graph/sql`` over tables, within bounds of memory and disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files

import duckdb
import pyarrow as pa

from .histogram import bucket_sql

# Bounds so that a spilling query can fill neither memory nor disk.
_MEMORY_LIMIT = "1200MB"
_SPILL_LIMIT = "16GB"

# The same two functions are all that another engine needs to run graph/sql.
_MACROS = (
    f"create macro bucket_of(value) as {bucket_sql('value')}",
    # An empty histogram is an empty list, never null.
    """create macro histogram_of(value) as coalesce(
           list_transform(map_entries(histogram(bucket_of(value))),
                          lambda entry: {'bucket': entry.key, 'count': cast(entry.value as bigint)}),
           [])""",
)


def query(name: str) -> str:
    """Return the text of ``graph/sql/<name>.sql``."""
    return files("hypocenter.graph.sql").joinpath(f"{name}.sql").read_text(encoding="utf-8")


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory database with the functions that the queries use; what it spills goes when it closes."""
    with tempfile.TemporaryDirectory(prefix="hypocenter-") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": spill,
            "max_temp_directory_size": _SPILL_LIMIT,
        }
        connection = duckdb.connect(config=settings)
        try:
            for macro in _MACROS:
                connection.execute(macro)
            yield connection
        finally:
            connection.close()


def run(name: str, tables: Mapping[str, pa.Table]) -> pa.Table:
    """Return the result of the named query over ``tables``, read whole before the connection closes."""
    with connect() as connection:
        for table_name, table in tables.items():
            connection.register(table_name, table)
        return connection.sql(query(name)).to_arrow_table()
