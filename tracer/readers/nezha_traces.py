"""The traces of the Nezha recordings (``HH_MM_trace.csv``): spans in nanoseconds, neither kind nor status."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.compute as pc

from ..batch import Batch, table_of
from ..delimited import all_valid, header_of, read_columns, to_int64
from ..schema import SPANS
from ..source import Source
from ..workload import deployment

NAME = "nezha-traces"
_COLUMNS = ["TraceID", "SpanID", "ParentID", "PodName", "OperationName", "StartTimeUnixNano", "EndTimeUnixNano"]


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the columns of the header."""
    return set(_COLUMNS) <= set(header_of(head))


def read(source: Source) -> Iterator[Batch]:
    """Yield the spans; the service is the pod's deployment. Raises DecodeError when a column is missing."""
    for rows in read_columns(source, _COLUMNS):
        start, end = to_int64(rows.text("StartTimeUnixNano")), to_int64(rows.text("EndTimeUnixNano"))
        whole = all_valid(start, end, rows.text("TraceID"), rows.text("SpanID"), rows.text("PodName"))
        kept = rows.keep(whole, "span without id, pod or time")
        start, duration = start.filter(whole), pc.subtract(end, start).filter(whole)
        kept.tally.repair("end before start", pc.sum(pc.less(duration, 0)).as_py() or 0)
        parent, pod = kept.text("ParentID"), kept.text("PodName")
        columns = {
            "trace_id": pc.utf8_lower(kept.text("TraceID")),
            "span_id": pc.utf8_lower(kept.text("SpanID")),
            "parent_span_id": pc.if_else(pc.equal(parent, "root"), None, pc.utf8_lower(parent)),
            "name": pc.fill_null(kept.text("OperationName"), ""),
            "kind": 0,
            "status": 0,
            "start_ns": start,
            "duration_ns": pc.max_element_wise(duration, 0),
            "service": deployment(pod),
            "pod": pod,
            "adjusted_milli": 1000,
            "source": source.name,
        }
        kept.tally.accepted["spans"] += len(kept)
        yield Batch({"spans": table_of(SPANS, columns, len(kept))}, kept.tally)
