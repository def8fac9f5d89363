"""Tables out of a store to Parquet, CSV and OTLP/JSON lines, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.types as pt

from .json_text import to_json_text
from .otlp import encode_traces
from .otlp.whole_ids import with_whole_ids

# A receiver holds a request in memory, and many refuse more than a few MiB.
REQUEST_SPANS, REQUEST_BYTES = 1000, 2 << 20
_PIECE_ROWS, _PIECE_BYTES = 64 * 1024, 64 << 20


def pieces(batch: pa.RecordBatch, rows: int, size_bytes: int) -> Iterator[pa.RecordBatch]:
    """Yield the batch in pieces of at most ``rows`` rows and about ``size_bytes`` in memory; one row may be larger."""
    pending = [batch.slice(start, rows) for start in range(0, batch.num_rows, rows)][::-1]
    while pending:
        piece = pending.pop()
        if piece.num_rows > 1 and piece.nbytes > size_bytes:
            half = piece.num_rows // 2
            pending += [piece.slice(half), piece.slice(0, half)]
        else:
            yield piece


def write_parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema, sink: BinaryIO) -> None:
    """Write Parquet; types, nulls and the meaning of each column are kept, so `hypocenter ingest` gives equal rows."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches:
            for piece in pieces(batch, _PIECE_ROWS, _PIECE_BYTES):
                writer.write_batch(piece.cast(schema))


def write_csv(batches: Iterable[pa.RecordBatch], schema: pa.Schema, sink: BinaryIO) -> None:
    """Write CSV under a header; nested columns are JSON, null is an empty cell and the empty text is ``""``."""
    import pyarrow.csv as pacsv

    nested = [field.name for field in schema if pt.is_nested(field.type)]
    flat = pa.schema([pa.field(f.name, pa.string() if f.name in nested else f.type) for f in schema])
    with pacsv.CSVWriter(sink, flat) as writer:
        for batch in batches:
            for piece in pieces(batch, _PIECE_ROWS, _PIECE_BYTES):
                columns = [to_json_text(piece[name]) if name in nested else piece[name] for name in flat.names]
                writer.write_batch(pa.record_batch(columns, flat))


def requests(batches: Iterable[pa.RecordBatch], content_type: str, replaced: list[int]) -> Iterator[tuple[bytes, int]]:
    """Yield the spans as OTLP requests, each with its number of spans.

    Ids that OTLP cannot hold are replaced (`hypocenter.tracer.otlp.whole_ids`), their number added to ``replaced``.
    """
    for batch in batches:
        for piece in pieces(batch, REQUEST_SPANS, REQUEST_BYTES):
            table, count = with_whole_ids(pa.Table.from_batches([piece]))
            replaced.append(count)
            yield encode_traces(table, content_type), piece.num_rows
