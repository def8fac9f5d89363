"""CSV files whose columns are named as in our own schemas; maps and links are JSON in their cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..batch import Batch
from ..conform import read_table, signal_of
from ..delimited import header_of
from ..source import Source

NAME: Final = "csv"


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the columns without which a signal cannot be."""
    return signal_of(header_of(head)) is not None


def read(source: Source) -> Iterator[Batch]:
    """Yield the rows. Raises DecodeError for columns that are of no signal."""
    return read_table(source)
