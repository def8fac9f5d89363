"""The metrics of the PetShop recordings: wide CSV under three header rows (microservice, metric, statistic)."""

from __future__ import annotations

from collections.abc import Iterator

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally
from ..delimited import header_of, read_header, to_time_ns
from ..source import Source
from ..wide import Column, read_wide

NAME = "petshop-metrics"
_INDEX = b"unix_timestamp"
_ROWS = ("microservice", "metric", "statistic")


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the first cell of the three header rows."""
    lines = head.split(b"\n", 3)
    return len(lines) >= 3 and [header_of(line)[:1] for line in lines[:3]] == [[name] for name in _ROWS]


def read(source: Source) -> Iterator[Batch]:
    """Yield the series ``metric/statistic`` of each microservice; empty cells are unknown, not zero.

    Raises DecodeError unless the three header rows have one length.
    """
    rows = [read_header(source) for _ in _ROWS]
    if len({len(row) for row in rows}) > 1 or [row[0] for row in rows] != list(_ROWS):
        raise DecodeError(source.name, "lines 1-3", f"expected three header rows: {', '.join(_ROWS)}")
    # A fourth row may name the index.
    if source.stream.peek(len(_INDEX))[: len(_INDEX)] == _INDEX:
        source.stream.readline()
    columns, lost = {}, Tally()
    header = ["/".join(cells) for cells in zip(*rows, strict=True)]
    for label, (service, metric, statistic) in zip(header[1:], list(zip(*rows, strict=True))[1:], strict=True):
        if label in columns:
            lost.drop("column of the same name", f"{source.name}: column {label}")
        columns[label] = Column(label, f"{metric}/{statistic}", service)
    yield Batch(tally=lost)
    yield from read_wide(source, header, lambda chunk: to_time_ns(chunk.text(header[0])), columns, first=4)
