"""The tables of a batch pass, each declared once, and how the hours' parts become one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .results import Results

_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()
_TIME = pa.timestamp("ns", tz="UTC")

TABLES: dict[str, pa.Schema] = {
    # An incident that was felt at an entry, and what the ranking said of it; it was looked for in one trace in
    # ``sample``.
    "incidents": pa.schema(
        [
            ("incident", _TEXT),
            ("sample", _INT),
            ("start", _TIME),
            ("end", _TIME),
            ("symptom", _TEXT),
            ("signal", _TEXT),
            ("felt", _TEXT),
            ("outcome", _TEXT),
            ("origin", _TEXT),
            ("kind", _TEXT),
            ("service", _TEXT),
            ("probability", _REAL),
            ("onset", _TIME),
            ("path", _TEXT),
            ("why", _TEXT),
            ("not_checked", _TEXT),
            ("error", _TEXT),
        ]
    ),
    "candidates": pa.schema(
        [
            ("incident", _TEXT),
            ("rank", _INT),
            ("entity", _TEXT),
            ("kind", _TEXT),
            ("service", _TEXT),
            ("probability", _REAL),
            ("score_nats", _REAL),
            ("onset", _TIME),
        ]
    ),
    # An edge in an hour: calls as seen, and with those that sampling left out; failed ones, 95th percentiles; null is
    # unknown.
    "edges": pa.schema(
        [
            ("hour", _TIME),
            ("source", _TEXT),
            ("target", _TEXT),
            ("kind", _TEXT),
            ("count", _INT),
            ("adjusted_count", _REAL),
            ("errors", _INT),
            ("client_p95_s", _REAL),
            ("server_p95_s", _REAL),
        ]
    ),
    # An hour of which one trace in ``sample`` was linked: spans as seen, those of them in calls, the distinct ones with
    # those that sampling left out, and the share that the graph explains.
    "coverage": pa.schema(
        [
            ("hour", _TIME),
            ("sample", _INT),
            ("spans", _INT),
            ("linked", _INT),
            ("adjusted_spans", _REAL),
            ("explained_ratio", _REAL),
        ]
    ),
}
_RELIABILITY = ["source", "target", "calls", "adjusted_calls", "errors", "error_share", "hours", "bad_hours", "p95_s"]


def table(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows in the schema of table ``name``; times are nanoseconds since the epoch."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=TABLES[name])


def write_tables(folder: Path, rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Write each table to a file of its own name."""
    for name in rows:
        (folder / f"{name}.parquet").write_bytes(parquet(table(name, rows[name])))


def parquet(rows: pa.Table) -> bytes:
    """Return rows as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def count_of(file: bytes) -> int:
    """Return the rows of a Parquet file."""
    return int(pq.read_metadata(pa.BufferReader(file)).num_rows)


def joined(results: Results, name: str, folders: Iterable[str]) -> pa.Table:
    """Return table ``name`` of all folders of ``results``, in their order."""
    files = results.read([f"{folder}/{name}.parquet" for folder in folders])
    parts = [pq.read_table(pa.BufferReader(file), schema=TABLES[name]) for file in files]
    return pa.concat_tables([TABLES[name].empty_table(), *parts])


def reliability(edges: pd.DataFrame) -> pd.DataFrame:
    """Return a row per edge, the least reliable first, with the hours it was seen in and those with over 1 % errors.

    ``calls`` and ``errors`` are as seen, and ``error_share`` is the one by the other; ``adjusted_calls`` are with those
    that sampling left out, and decide among edges that fail alike.
    """
    if edges.empty:
        return pd.DataFrame(columns=_RELIABILITY)
    bad = edges["errors"] > 0.01 * edges["count"]
    grouped = edges.assign(bad=bad, p95=edges.client_p95_s.fillna(edges.server_p95_s)).groupby(["source", "target"])
    frame = grouped.agg(
        calls=("count", "sum"),
        adjusted_calls=("adjusted_count", "sum"),
        errors=("errors", "sum"),
        hours=("hour", "nunique"),
        bad_hours=("bad", "sum"),
        p95_s=("p95", "max"),
    ).reset_index()
    frame["error_share"] = frame.errors / frame.calls.where(frame.calls > 0)
    order = ["error_share", "adjusted_calls"]
    return frame[_RELIABILITY].sort_values(order, ascending=False, kind="stable", ignore_index=True)


def offenders(incidents: pd.DataFrame) -> pd.DataFrame:
    """Return a row per origin that was named, the most frequent first: incidents, minutes felt, last seen."""
    named = incidents[incidents.outcome == "ranked"]
    if named.empty:
        return pd.DataFrame(columns=["origin", "kind", "incidents", "minutes", "last"])
    minutes = (named.end - named.start).dt.total_seconds() / 60
    grouped = named.assign(minutes=minutes).groupby(["origin", "kind"])
    frame = grouped.agg(incidents=("incident", "size"), minutes=("minutes", "sum"), last=("start", "max")).reset_index()
    return frame.sort_values(["incidents", "minutes"], ascending=False, kind="stable", ignore_index=True)
