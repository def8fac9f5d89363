"""Spans of Parquet segments as linking reads them: batch by batch, texts as the codes that the files hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import SourceError

from ..tracer.schema import SPANS
from ..tracer.store.remote import located
from ..tracer.window import Window
from .ids import hashes
from .profiles import TEXTS

BATCH_ROWS = 128 * 1024


def batches(
    paths: Sequence[Path | str], window: Window | None, columns: Sequence[str], sample: int = 1
) -> Iterator[pa.RecordBatch]:
    """Yield the spans of segments that start in ``window`` (None: all), batches without rows left out.

    With ``sample`` only one trace in so many, whole ones, their adjusted counts (if wanted) that many times as large.

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
        files, filesystem = located(paths)
        dataset = ds.dataset(files, schema=schema, format=reading, filesystem=filesystem)
        scanner = dataset.scanner(
            columns=list(dict.fromkeys([*columns, *(["trace_id"] if sample > 1 else [])])),
            filter=within,
            batch_size=BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=2,
        )
        for batch in scanner.to_batches():
            taken = batch if sample == 1 else _sampled(batch, sample)
            if taken.num_rows:
                yield taken
    except FileNotFoundError as error:  # compaction or retention was faster
        raise SourceError(f"segments changed while they were read: {error}", retryable=True) from error
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"segments cannot be read: {str(error).splitlines()[0]}") from error


def _sampled(batch: pa.RecordBatch, sample: int) -> pa.RecordBatch:
    """Return the spans of one trace in ``sample``, the same traces in whichever batch, process and engine."""
    traces = batch.column("trace_id").dictionary_encode()
    is_taken = hashes(traces.dictionary) % np.uint64(sample) == 0
    taken = batch.filter(pa.array(is_taken[traces.indices.to_numpy()]))
    if "adjusted_milli" not in taken.schema.names:
        return taken
    at = taken.schema.get_field_index("adjusted_milli")
    return taken.set_column(at, taken.schema.field(at), pc.multiply(taken.column(at), sample))
