"""The layout of the RCAEval recordings: ``traces.csv`` and ``logs.csv`` of one incident (metrics are wide CSV)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally
from ..schema import LOGS, SPANS
from .nezha import table_of
from .wide_csv import time_to_ns

_SPAN_COLUMNS = ["traceID", "spanID", "serviceName", "startTime", "duration"]
_TEXT_COLUMNS = ["traceID", "spanID", "parentSpanID", "serviceName", "operationName", "methodName"]
_ERROR_TEXT = {"ERROR", "STATUS_CODE_ERROR", "2.0-ERROR"}


def matches(path: Path) -> bool:
    """Tell whether the header of ``path`` is a trace or log file of this layout."""
    header = set(pd.read_csv(path, nrows=0).columns)
    return "traceID" in header or {"container_name", "message"} <= header


def read_traces(path: Path) -> Batch:
    """Return the spans of ``traces.csv``: microseconds since the epoch, no kinds; columns may come in any order."""
    # An id of digits only is still text.
    frame = pd.read_csv(path, low_memory=False, dtype=dict.fromkeys(_TEXT_COLUMNS, "string"))
    missing = [name for name in _SPAN_COLUMNS if name not in frame]
    if missing:
        raise DecodeError(str(path), "header", f"missing the columns {', '.join(missing)}")
    tally = Tally()
    start = pd.to_numeric(frame.startTime, errors="coerce")
    duration = pd.to_numeric(frame.duration, errors="coerce")
    broken = start.isna() | duration.isna() | frame.traceID.isna() | frame.spanID.isna() | frame.serviceName.isna()
    if broken.any():
        tally.drop("span without id, service or time", f"{path}: row {int(broken.argmax()) + 2}", int(broken.sum()))
    frame, start, duration = frame[~broken], start[~broken], duration[~broken]
    tally.repair("end before start", int((duration < 0).sum()))
    n = len(frame)
    name = next((c for c in ("operationName", "methodName") if c in frame), None)
    parent = frame.parentSpanID.astype("string") if "parentSpanID" in frame else pd.Series([None] * n, dtype="string")
    operation = frame[name].astype("string").fillna("") if name else [""] * n
    columns: dict[str, object] = {
        "trace_id": frame.traceID.astype("string").str.lower(),
        "span_id": frame.spanID.astype("string").str.lower(),
        "parent_span_id": parent.where(parent.str.len() > 0).str.lower(),
        "name": operation,
        "kind": np.zeros(n, "i1"),
        "status": _status(frame),
        "start_ns": (start.astype("int64") * 1000),
        "duration_ns": (duration.clip(lower=0) * 1000).astype("int64"),
        "service": frame.serviceName.astype("string"),
        "adjusted_milli": np.full(n, 1000),
        "source": [str(path)] * n,
    }
    tally.accepted["spans"] += n
    return Batch({"spans": table_of(SPANS, columns, n)}, tally)


def _status(frame: pd.DataFrame) -> np.ndarray:
    """Return 2 for gRPC codes 1-16, HTTP 5xx and the word error; 0 where nothing is said."""
    if "statusCode" not in frame:
        return np.zeros(len(frame), "i1")
    code = pd.to_numeric(frame.statusCode, errors="coerce")
    text = frame.statusCode.astype("string").str.upper().isin(_ERROR_TEXT)
    wrong = code.between(1, 16) | (code >= 500) | text.fillna(False).astype(bool)
    return np.asarray(np.where(wrong, 2, 0), dtype="i1")


def read_logs(path: Path) -> Batch:
    """Return the records of ``logs.csv``; they carry no trace context."""
    frame = pd.read_csv(path, low_memory=False)
    clock = next((c for c in ("timestamp", "time") if c in frame), None)
    if clock is None or not {"container_name", "message"} <= set(frame.columns):
        raise DecodeError(str(path), "header", "expected the columns timestamp or time, container_name and message")
    tally = Tally()
    broken = frame[clock].isna() | frame.message.isna()
    if broken.any():
        tally.drop("log record without time or message", f"{path}: row {int(broken.argmax()) + 2}", int(broken.sum()))
    frame = frame[~broken]
    n = len(frame)
    columns: dict[str, object] = {
        "time_ns": time_to_ns(frame[clock], path),
        "severity": np.zeros(n, "i1"),
        "body": frame.message.astype("string"),
        "service": frame.container_name.astype("string"),
        "source": [str(path)] * n,
    }
    tally.accepted["logs"] += n
    return Batch({"logs": table_of(LOGS, columns, n)}, tally)
