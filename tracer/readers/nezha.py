"""The layout of the Nezha recordings: CSV of spans without kind or status, pod metrics each minute, logs."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally
from ..schema import LOGS, POINTS, SERIES, SPANS

_SPAN_COLUMNS = ["TraceID", "SpanID", "ParentID", "PodName", "OperationName", "StartTimeUnixNano", "EndTimeUnixNano"]
_SEVERITY = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}
_NOT_METRICS = {"Time", "TimeStamp", "PodName", "ServiceName", "time", "timestamp"}


def deployment(pod: pd.Series) -> pd.Series:
    """Return the deployment of each pod name: the name without its two hashes."""
    return pod.str.replace(r"-[a-z0-9]+-[a-z0-9]+$", "", regex=True)


def table_of(schema: pa.Schema, columns: dict[str, object], rows: int) -> pa.Table:
    """Return a table of ``schema``; columns not given are null."""
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type, from_pandas=True))
        else:
            arrays.append(pa.nulls(rows, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def read_traces(path: Path) -> Batch:
    """Return the spans of one ``HH_MM_trace.csv``; kind and status are unspecified in this layout."""
    tally = Tally()
    try:
        frame = pd.read_csv(path, dtype=str, usecols=_SPAN_COLUMNS)
    except (ValueError, OSError, EOFError) as error:
        raise DecodeError(str(path), "header", f"expected the columns {', '.join(_SPAN_COLUMNS)}; {error}") from error
    start = pd.to_numeric(frame.StartTimeUnixNano, errors="coerce")
    end = pd.to_numeric(frame.EndTimeUnixNano, errors="coerce")
    broken = start.isna() | end.isna() | frame.TraceID.isna() | frame.SpanID.isna() | frame.PodName.isna()
    if broken.any():
        tally.drop("span without id, pod or time", f"{path}: row {int(broken.idxmax()) + 2}", int(broken.sum()))
    frame, start, end = frame[~broken], start[~broken].astype("int64"), end[~broken].astype("int64")
    tally.repair("end before start", int((end < start).sum()))
    n = len(frame)
    tally.accepted["spans"] += n
    columns: dict[str, object] = {
        "trace_id": frame.TraceID.str.lower(),
        "span_id": frame.SpanID.str.lower(),
        "parent_span_id": frame.ParentID.where(frame.ParentID != "root").str.lower(),
        "name": frame.OperationName.fillna(""),
        "kind": np.zeros(n, "i1"),
        "status": np.zeros(n, "i1"),
        "start_ns": start,
        "duration_ns": (end - start).clip(lower=0),
        "service": deployment(frame.PodName),
        "pod": frame.PodName,
        "adjusted_milli": np.full(n, 1000),
        "source": [str(path)] * n,
    }
    return Batch({"spans": table_of(SPANS, columns, n)}, tally)


def read_metrics(path: Path) -> Batch:
    """Return the series of one metric file: per pod, per edge (``source_50``/``destination_50``) or of the entry.

    The clock is the column ``Time``: ``TimeStamp`` is off by 200,000,000 s in some files.
    """
    if path.name.startswith("dependency"):
        return Batch()
    frame = pd.read_csv(path)
    clock = "Time" if "Time" in frame else "time"
    if clock not in frame:
        raise DecodeError(str(path), "header", "expected a column Time or time")
    text = frame[clock].astype(str).str.replace(r" \+0000 UTC.*$", "", regex=True)
    parsed = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
    tally = Tally()
    if parsed.isna().any():
        tally.drop("metric row without a time", str(path), int(parsed.isna().sum()))
    frame, parsed = frame[parsed.notna()], parsed[parsed.notna()]
    time_ns = parsed.dt.as_unit("ns").astype("int64").to_numpy()
    stem = path.name.split(".")[0]
    edges = stem in ("source_50", "destination_50")
    pod = str(frame.PodName.iloc[0]) if "PodName" in frame and len(frame) else None
    owner = deployment(pd.Series([pod])).iloc[0] if pod else None
    series, points = [], []
    for column in frame.columns:
        if column in _NOT_METRICS:
            continue
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype="f8")
        caller, _, peer = column.partition("_") if edges else (owner, "", None)
        series_id = f"{stem}/{column}"
        series.append(
            {"series_id": series_id, "name": stem if edges else column, "service": caller, "pod": pod, "peer": peer}
        )
        points.append(
            pa.table([pa.array([series_id] * len(values)), time_ns, values], ["series_id", "time_ns", "value"])
        )
    if not series:
        return Batch({}, tally)
    listing = pd.DataFrame(series)
    columns: dict[str, object] = {name: listing[name] for name in listing}
    columns |= {"kind": ["gauge"] * len(listing), "source": [str(path)] * len(listing)}
    joined = pa.concat_tables(points)
    joined = joined.append_column("histogram", pa.nulls(len(joined), pa.string())).cast(POINTS)
    joined = joined.filter(pc.is_valid(joined["value"]))
    tally.accepted["points"] += len(joined)
    return Batch({"series": table_of(SERIES, columns, len(listing)), "points": joined}, tally)


def read_logs(path: Path) -> Batch:
    """Return the log records of one ``HH_MM_log.csv``; the text is the field ``log`` of a JSON column."""
    tally = Tally()
    rows: list[tuple[int, str, str, str, str, str]] = []
    with gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(newline="") as text:
        reader = csv.DictReader(io.StringIO(text.read()))
        for record in reader:
            try:
                time_ns = int(record["TimeUnixNano"])
                body = json.loads(record["Log"])["log"].rstrip("\n")
            except (KeyError, TypeError, ValueError):
                tally.drop("log record that is not JSON", f"{path}: line {reader.line_num}")
                continue
            rows.append((time_ns, body, record["TraceID"], record["SpanID"], record["PodName"], record["Node"]))
    frame = pd.DataFrame(rows, columns=["time_ns", "body", "trace_id", "span_id", "pod", "node"])
    level = frame.body.astype(str).str.extract(r"\b(TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\b", expand=False)
    columns: dict[str, object] = {name: frame[name] for name in frame}
    columns |= {
        "severity": level.map(_SEVERITY).fillna(0).astype("int8"),
        "service": deployment(frame.pod.astype(str)),
        "source": [str(path)] * len(frame),
    }
    tally.accepted["logs"] += len(frame)
    return Batch({"logs": table_of(LOGS, columns, len(frame))}, tally)


def is_metric_file(path: Path) -> bool:
    """Tell whether the header of ``path`` is one of this layout's metric files."""
    header = pd.read_csv(path, nrows=0).columns
    return "Time" in header or ("timestamp" in header and path.name.split(".")[0] in ("source_50", "destination_50"))
