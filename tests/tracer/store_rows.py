"""Tiny builders of rows in the schemas of the store."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SIGNALS

_FILLER = {pa.string(): "-", pa.int8(): 0, pa.int64(): 0}


def table(signal: str, **columns: list[Any]) -> pa.Table:
    """Return rows with the given columns; the other required ones get a filler, the rest null."""
    rows = len(next(iter(columns.values())))
    filled = {
        field.name: pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        if field.nullable
        else pa.array([_FILLER[field.type]] * rows, field.type)
        for field in SIGNALS[signal]
    }
    return pa.table(filled, schema=SIGNALS[signal])


def spans(*starts_ns: int) -> Batch:
    """Return a batch of spans with these start times; the span id tells the order."""
    ids = [f"{i:016x}" for i in range(len(starts_ns))]
    return Batch({"spans": table("spans", start_ns=list(starts_ns), span_id=ids)})


def points(*times_ns: int) -> Batch:
    """Return a batch of metric points at these times, with their number as value."""
    return Batch({"points": table("points", time_ns=list(times_ns), value=[float(i) for i in range(len(times_ns))])})
