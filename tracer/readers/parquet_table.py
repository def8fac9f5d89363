"""Parquet files of our own schemas, as a store's segments and exports are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..batch import Batch
from ..conform import read_table
from ..raw_tables import is_parquet
from ..source import Source

NAME: Final = "parquet"


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the magic."""
    return is_parquet(head)


def read(source: Source) -> Iterator[Batch]:
    """Yield the rows. Raises DecodeError for a broken file, or columns that are of no signal."""
    return read_table(source)
