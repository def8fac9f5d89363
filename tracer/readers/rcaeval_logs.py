"""The logs of the RCAEval recordings (``logs.csv``): no severity and no trace context."""

from __future__ import annotations

from collections.abc import Iterator

from ..batch import Batch, table_of
from ..delimited import all_valid, header_of, read_columns, to_time_ns
from ..schema import LOGS
from ..source import Source

NAME = "rcaeval-logs"
_CLOCKS = ("timestamp", "time")
_COLUMNS = ["container_name", "message"]


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the columns of the header."""
    return set(_COLUMNS) <= set(header_of(head))


def read(source: Source) -> Iterator[Batch]:
    """Yield the records; the service is the container. Raises DecodeError when a column is missing."""
    for rows in read_columns(source, _COLUMNS):
        clock = next((name for name in _CLOCKS if name in rows.table.column_names), _CLOCKS[0])
        time_ns = to_time_ns(rows.text(clock))
        whole = all_valid(time_ns, rows.text("message"))
        kept = rows.keep(whole, "log record without time or message")
        columns = {
            "time_ns": time_ns.filter(whole),
            "severity": 0,
            "body": kept.text("message"),
            "service": kept.text("container_name"),
            "source": source.name,
        }
        kept.tally.accepted["logs"] += len(kept)
        yield Batch({"logs": table_of(LOGS, columns, len(kept))}, kept.tally)
