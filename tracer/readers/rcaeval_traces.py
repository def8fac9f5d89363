"""The traces of the RCAEval recordings (``traces.csv``): microseconds since the epoch, no kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ..batch import Batch, table_of
from ..delimited import all_valid, header_of, read_columns, to_float64, to_int64
from ..schema import SPANS
from ..source import Source

NAME = "rcaeval-traces"
_COLUMNS = ["traceID", "spanID", "serviceName", "startTime", "duration"]
_ERROR_TEXT = pa.array(["ERROR", "STATUS_CODE_ERROR", "2.0-ERROR"])


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the columns of the header."""
    return set(_COLUMNS) <= set(header_of(head))


def read(source: Source) -> Iterator[Batch]:
    """Yield the spans; columns may come in any order. Raises DecodeError when a column is missing."""
    for rows in read_columns(source, _COLUMNS):
        start, duration = to_int64(rows.text("startTime")), to_int64(rows.text("duration"))
        whole = all_valid(start, duration, rows.text("traceID"), rows.text("spanID"), rows.text("serviceName"))
        kept = rows.keep(whole, "span without id, service or time")
        start, duration = start.filter(whole), duration.filter(whole)
        kept.tally.repair("end before start", pc.sum(pc.less(duration, 0)).as_py() or 0)
        columns = {
            "trace_id": pc.utf8_lower(kept.text("traceID")),
            "span_id": pc.utf8_lower(kept.text("spanID")),
            "parent_span_id": pc.utf8_lower(kept.text("parentSpanID")),
            "name": pc.fill_null(pc.coalesce(kept.text("operationName"), kept.text("methodName")), ""),
            "kind": 0,
            "status": _status(kept.text("statusCode")),
            "start_ns": pc.multiply(start, 1000),
            "duration_ns": pc.multiply(pc.max_element_wise(duration, 0), 1000),
            "service": kept.text("serviceName"),
            "adjusted_milli": 1000,
            "source": source.name,
        }
        kept.tally.accepted["spans"] += len(kept)
        yield Batch({"spans": table_of(SPANS, columns, len(kept))}, kept.tally)


def _status(codes: pa.Array) -> pa.Array:
    """Return 2 for gRPC codes 1-16, HTTP 5xx and the word error; 0 where nothing is said."""
    code = pc.fill_null(to_float64(codes), 0.0)
    numeric = pc.or_(pc.and_(pc.greater_equal(code, 1), pc.less_equal(code, 16)), pc.greater_equal(code, 500))
    return pc.if_else(pc.or_(numeric, pc.is_in(pc.utf8_upper(codes), _ERROR_TEXT)), 2, 0)
