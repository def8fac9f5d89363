"""Rows of segments: a window of time is pushed down to row groups, columns that are not wanted are not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from ..schema import SIGNALS, TIME_COLUMN
from ..window import Window
from .segment import Segment

Report = Callable[[str, str], None]
_BATCH_ROWS = 64 * 1024
# Read-ahead is memory: two files of one row group each keep both cores busy.
_AHEAD = {"batch_readahead": 4, "fragment_readahead": 4}


def rows_in(
    segments: Sequence[Segment],
    signal: str,
    window: Window | None,
    columns: Sequence[str] | None,
    predicate: pc.Expression | None,
    report: Report,
    filesystem: pafs.FileSystem | None = None,
) -> pa.Table:
    """Return the wanted rows in the order of ``segments``; one whose pages are damaged is reported and left out.

    Segments lie in ``filesystem``, None being this machine's.
    """
    wanted = _schema(signal, columns)
    tables = [
        table
        for run, condition in _runs(segments, signal, window, predicate)
        for table in _tables(run, signal, wanted.names, condition, report, filesystem)
    ]
    return pa.concat_tables([wanted.empty_table(), *tables])


def batches_in(
    segments: Sequence[Segment],
    signal: str,
    window: Window | None,
    columns: Sequence[str] | None,
    predicate: pc.Expression | None,
    report: Report,
    filesystem: pafs.FileSystem | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the wanted rows in the order of ``segments``; a damaged segment is reported and ends where it breaks."""
    wanted = _schema(signal, columns)
    for run, condition in _runs(segments, signal, window, predicate):
        for group in _groups(run):
            if len(group) > 1:
                for table in _tables(group, signal, wanted.names, condition, report, filesystem):
                    yield from (batch for batch in table.to_batches() if batch.num_rows)
                continue
            try:
                scanner = _scanner(group, signal, wanted.names, condition, filesystem)
                yield from (batch for batch in scanner.to_batches() if batch.num_rows)
            except (pa.ArrowException, OSError) as error:
                report(str(group[0].path), _reason(error))


def _groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Yield neighbours that make about one batch together: opening small files one by one costs more than reading."""
    group: list[Segment] = []
    rows = 0
    for segment in segments:
        if group and rows + segment.rows > _BATCH_ROWS:
            yield group
            group, rows = [], 0
        group.append(segment)
        rows += segment.rows
    if group:
        yield group


def _schema(signal: str, columns: Sequence[str] | None) -> pa.Schema:
    schema = SIGNALS[signal]
    if columns is None:
        return schema
    if unknown := [name for name in columns if name not in schema.names]:
        raise ValueError(f"{signal} has no column {', '.join(unknown)}; it has {', '.join(schema.names)}")
    return pa.schema([schema.field(name) for name in columns])


def _runs(
    segments: Sequence[Segment], signal: str, window: Window | None, predicate: pc.Expression | None
) -> Iterator[tuple[list[Segment], pc.Expression | None]]:
    """Yield runs of neighbours that need the same test: a segment wholly inside the window is not tested."""
    in_window = None
    if window is not None and signal in TIME_COLUMN:
        time = pc.field(TIME_COLUMN[signal])
        in_window = (time >= window.start_ns) & (time < window.end_ns)
    tested = in_window if predicate is None else predicate if in_window is None else in_window & predicate
    run: list[Segment] = []
    whole = True
    for segment in segments:
        if run and segment.within(window) != whole:
            yield run, predicate if whole else tested
            run = []
        whole = segment.within(window)
        run.append(segment)
    if run:
        yield run, predicate if whole else tested


def _tables(
    segments: list[Segment],
    signal: str,
    names: list[str],
    condition: pc.Expression | None,
    report: Report,
    filesystem: pafs.FileSystem | None,
) -> Iterator[pa.Table]:
    """Yield the rows of ``segments``; on damage they are halved until the damaged one stands alone."""
    try:
        yield _scanner(segments, signal, names, condition, filesystem).to_table()
    except (pa.ArrowException, OSError) as error:
        if len(segments) == 1:
            report(str(segments[0].path), _reason(error))
            return
        half = len(segments) // 2
        yield from _tables(segments[:half], signal, names, condition, report, filesystem)
        yield from _tables(segments[half:], signal, names, condition, report, filesystem)


def _scanner(
    segments: Sequence[Segment],
    signal: str,
    names: list[str],
    condition: pc.Expression | None,
    filesystem: pafs.FileSystem | None,
) -> ds.Scanner:
    file_format = ds.ParquetFileFormat(
        default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    )
    dataset = ds.dataset(
        [str(s.path) for s in segments], schema=SIGNALS[signal], format=file_format, filesystem=filesystem
    )
    return dataset.scanner(columns=names, filter=condition, batch_size=_BATCH_ROWS, **_AHEAD)


def _reason(error: Exception) -> str:
    return f"cannot be read ({str(error).splitlines()[0]})"
