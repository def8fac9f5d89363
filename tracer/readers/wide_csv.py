"""Wide CSV of metrics: a time column and one column ``<service>_<metric>`` a series (also the RCAEval layout)."""

from __future__ import annotations

from collections.abc import Iterator

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally
from ..delimited import header_of, read_header, to_time_ns
from ..source import Source
from ..wide import Column, read_wide

NAME = "wide-csv"
_CLOCKS = ("time", "timestamp", "Time")


def matches(head: bytes, file_name: str) -> bool:
    """Tell by a time column and at least one column of the form ``<service>_<metric>``."""
    header = header_of(head)
    return any(clock in header for clock in _CLOCKS) and any(cell.rpartition("_")[0] for cell in header)


def read(source: Source) -> Iterator[Batch]:
    """Yield the series; the service is the part before the last underscore. Empty cells are unknown, not zero.

    Raises DecodeError without a time column or without any series.
    """
    header = read_header(source)
    clock = next((name for name in _CLOCKS if name in header), None)
    if clock is None:
        raise DecodeError(source.name, "line 1", f"expected a time column ({', '.join(_CLOCKS)})")
    lost, columns = Tally(), {}
    for name in header:
        service, _, metric = name.rpartition("_")
        if service and name not in _CLOCKS and not name.startswith("time."):
            columns[name] = Column(series_id=name, name=metric, service=service)
        elif name not in _CLOCKS:
            lost.drop("column without <service>_<metric>", f"{source.name}: column {name}")
    if not columns:
        raise DecodeError(source.name, "line 1", "no column of the form <service>_<metric>")
    yield Batch(tally=lost)
    yield from read_wide(source, header, lambda rows: to_time_ns(rows.text(clock)), columns)
