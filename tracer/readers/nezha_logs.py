"""The logs of the Nezha recordings (``HH_MM_log.csv``): the text is the field ``log`` of a JSON column."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ..batch import Batch, table_of
from ..delimited import all_valid, header_of, read_columns, to_int64
from ..schema import LOGS
from ..source import Source
from ..workload import deployment

NAME = "nezha-logs"
_COLUMNS = ["TimeUnixNano", "Node", "PodName", "TraceID", "SpanID", "Log"]
_LEVEL = r"\b(?P<level>TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\b"
_SEVERITY = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the columns of the header."""
    return set(_COLUMNS) <= set(header_of(head))


def read(source: Source) -> Iterator[Batch]:
    """Yield the records; the severity is the first word of a level in the text. Raises DecodeError without a column."""
    for rows in read_columns(source, _COLUMNS):
        time_ns = to_int64(rows.text("TimeUnixNano"))
        body = pa.array([_body(cell) for cell in rows.text("Log").to_pylist()], pa.string())
        whole = all_valid(time_ns, body)
        kept, body = rows.keep(whole, "log record without JSON or time"), body.filter(whole)
        level = pc.struct_field(pc.extract_regex(body, _LEVEL), "level")
        severity = pc.take(pa.array(_SEVERITY.values()), pc.index_in(level, pa.array(_SEVERITY)))
        columns = {
            "time_ns": time_ns.filter(whole),
            "severity": pc.fill_null(severity, 0),
            "body": body,
            "trace_id": pc.utf8_lower(kept.text("TraceID")),
            "span_id": pc.utf8_lower(kept.text("SpanID")),
            "service": deployment(kept.text("PodName")),
            "pod": kept.text("PodName"),
            "node": kept.text("Node"),
            "source": source.name,
        }
        kept.tally.accepted["logs"] += len(kept)
        yield Batch({"logs": table_of(LOGS, columns, len(kept))}, kept.tally)


def _body(cell: str | None) -> str | None:
    try:
        text = orjson.loads(cell or "")["log"]
    except (KeyError, TypeError, ValueError):
        return None
    return text.rstrip("\n") if isinstance(text, str) else None
