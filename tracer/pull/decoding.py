"""Bodies of query APIs through the readers of files."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ..batch import Batch
from ..reader import Reader
from ..source import Source


def decoded(reader: Reader, name: str, body: bytes) -> Iterator[Batch]:
    """Yield what ``reader`` reads from a body; ``name`` is the source of its rows. DecodeError as the reader raises."""
    return reader.read(Source(name, io.BufferedReader(io.BytesIO(body))))


def without(batch: Batch, traces: set[str]) -> Batch:
    """Return the batch without the spans of some traces."""
    spans = batch.table("spans")
    if not traces or not spans.num_rows:
        return batch
    known = pc.is_in(spans["trace_id"], pa.array(sorted(traces), pa.string()))
    kept = spans.filter(pc.invert(known))
    batch.tally.accepted["spans"] -= spans.num_rows - kept.num_rows
    return Batch({**batch.tables, "spans": kept}, batch.tally)


def once(batch: Batch, seen: set[str]) -> Batch:
    """Return the batch without the traces that were ``seen``, which from now on holds its own as well."""
    found = trace_ids(batch)
    fresh = without(batch, found & seen)
    seen |= found
    return fresh


def trace_ids(batch: Batch) -> set[str]:
    """Return the ids of the traces in a batch."""
    return set(pc.unique(batch.table("spans")["trace_id"]).to_pylist())
