"""Parquet, Arrow and CSV files as tables of whatever columns they have."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

import pyarrow as pa

from hypocenter.errors import DecodeError

from .batch import Tally
from .delimited import MAX_ROWS, Rows, read_header, read_rows
from .source import Source

_PARQUET: Final = b"PAR1"
_ARROW: Final = (b"ARROW1\0\0", b"\xff\xff\xff\xff")  # file, stream
_SPOOL_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 20
# The libraries say with any of these that a file is not what it claims to be.
_BROKEN: Final = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, MemoryError)


def is_parquet(head: bytes) -> bool:
    """Tell by the magic at the beginning."""
    return head.startswith(_PARQUET)


def is_arrow(head: bytes) -> bool:
    """Tell by the magic of an Arrow file, or the mark of a stream's first message."""
    return head.startswith(_ARROW)


def read_raw(source: Source) -> Iterator[Rows]:
    """Yield at most 65,536 rows at a time, of Parquet, Arrow (file or stream) or CSV; cells of CSV are text.

    Raises DecodeError for a file that is broken.
    """
    head = source.head()
    if is_parquet(head):
        yield from _numbered(source, _parquet(source))
    elif is_arrow(head):
        yield from _numbered(source, _arrow(source, is_file=head.startswith(_ARROW[0])))
    else:
        yield from read_rows(source, read_header(source))


def _numbered(source: Source, batches: Iterator[pa.RecordBatch]) -> Iterator[Rows]:
    first = 1
    while True:
        try:
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate(full=True)
            names = batch.schema.names  # fails where a name is not UTF-8
        except _BROKEN as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise DecodeError(source.name, f"row {first}", f"broken: {reason}") from error
        for start in range(0, batch.num_rows, MAX_ROWS):
            table = pa.table(batch.slice(start, MAX_ROWS).columns, names)
            yield Rows(source.name, first, table, Tally())
            first += table.num_rows


def _parquet(source: Source) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with _seekable(source) as file:
        yield from pq.ParquetFile(file).iter_batches(batch_size=MAX_ROWS, use_threads=False)


def _arrow(source: Source, *, is_file: bool) -> Iterator[pa.RecordBatch]:
    if not is_file:
        yield from pa.ipc.open_stream(source.stream)
        return
    with _seekable(source) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def _seekable(source: Source) -> BinaryIO:
    """Return the bytes in memory, or in a temporary file when there are many: footers stand at the end."""
    spool = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  the caller closes it
    while chunk := source.stream.read(_CHUNK_BYTES):
        spool.write(chunk)
    spool.seek(0, io.SEEK_SET)
    return cast(BinaryIO, spool)
