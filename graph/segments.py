"""Spans of Parquet segments as linking reads them: batch by batch, texts as the codes that the files hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from hypocenter.errors import SourceError

from ..tracer.schema import SPANS
from ..tracer.window import Window
from .profiles import TEXTS

BATCH_ROWS = 128 * 1024


def batches(paths: Sequence[Path | str], window: Window | None, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the spans of segments that start in ``window`` (None: all), batches without rows left out.

    Raises
    ------
    SourceError
        A segment is damaged, or went away meanwhile (retryable).
    """
    import pyarrow.dataset as ds

    if not paths:
        return
    started = ds.field("start_ns")
    within = None if window is None else (started >= window.start_ns) & (started < window.end_ns)
    # Texts stay the codes that the file holds: they repeat, and are decoded once a batch.
    schema = pa.schema(
        [field.with_type(pa.dictionary(pa.int32(), pa.string())) if field.name in TEXTS else field for field in SPANS]
    )
    reading = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=TEXTS))
    try:
        dataset = ds.dataset([str(path) for path in paths], schema=schema, format=reading)
        scanner = dataset.scanner(
            columns=list(columns), filter=within, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=2
        )
        for batch in scanner.to_batches():
            if batch.num_rows:
                yield batch
    except FileNotFoundError as error:  # compaction or retention was faster
        raise SourceError(f"segments changed while they were read: {error}", retryable=True) from error
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"segments cannot be read: {str(error).splitlines()[0]}") from error
