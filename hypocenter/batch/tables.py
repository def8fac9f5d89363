"""The tables of a batch pass, each declared once, and how the hours' parts become one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()
_TIME = pa.timestamp("ns", tz="UTC")

TABLES: dict[str, pa.Schema] = {
    # An incident that was felt at an entry, and what the ranking said of it.
    "incidents": pa.schema(
        [
            ("incident", _TEXT),
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
    "coverage": pa.schema([("hour", _TIME), ("spans", _INT), ("linked", _INT), ("explained_ratio", _REAL)]),
}


def table(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows in the schema of table ``name``; times are nanoseconds since the epoch."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=TABLES[name])


def write_tables(folder: Path, rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Write each table to a file of its own name."""
    for name in rows:
        pq.write_table(table(name, rows[name]), folder / f"{name}.parquet", compression="zstd")


def joined(name: str, folders: Iterable[Path]) -> pa.Table:
    """Return table ``name`` of all folders, in their order."""
    parts = [pq.read_table(folder / f"{name}.parquet", schema=TABLES[name]) for folder in folders]
    return pa.concat_tables([TABLES[name].empty_table(), *parts])


def combine(folders: Iterable[Path]) -> dict[str, pd.DataFrame]:
    """Return each table over all hours, in order of time."""
    listed = sorted(folders)
    return {name: joined(name, listed).to_pandas() for name in TABLES}


def reliability(edges: pd.DataFrame) -> pd.DataFrame:
    """Return a row per edge, the least reliable first, with the hours it was seen in and those with over 1 % errors."""
    if edges.empty:
        return pd.DataFrame(
            columns=["source", "target", "calls", "errors", "error_share", "hours", "bad_hours", "p95_s"]
        )
    bad = edges["errors"] > 0.01 * edges["count"]
    grouped = edges.assign(bad=bad, p95=edges.client_p95_s.fillna(edges.server_p95_s)).groupby(["source", "target"])
    frame = grouped.agg(
        calls=("count", "sum"),
        errors=("errors", "sum"),
        hours=("hour", "nunique"),
        bad_hours=("bad", "sum"),
        p95_s=("p95", "max"),
    ).reset_index()
    frame.insert(4, "error_share", frame.errors / frame.calls.where(frame.calls > 0))
    return frame.sort_values(["error_share", "calls"], ascending=False, kind="stable", ignore_index=True)


def offenders(incidents: pd.DataFrame) -> pd.DataFrame:
    """Return a row per origin that was named, the most frequent first: incidents, minutes felt, last seen."""
    named = incidents[incidents.outcome == "ranked"]
    if named.empty:
        return pd.DataFrame(columns=["origin", "kind", "incidents", "minutes", "last"])
    minutes = (named.end - named.start).dt.total_seconds() / 60
    grouped = named.assign(minutes=minutes).groupby(["origin", "kind"])
    frame = grouped.agg(incidents=("incident", "size"), minutes=("minutes", "sum"), last=("start", "max")).reset_index()
    return frame.sort_values(["incidents", "minutes"], ascending=False, kind="stable", ignore_index=True)
