"""Linking and rolling up any number of spans in bounded memory: slices of whole traces, one after the other.

Spans arrive interleaved and late. One reading of the trace ids and start times decides for each trace the slice of its
earliest span, a second brings each span, as numbers, to the file of its slice, and each file is then linked alone.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from hypocenter.errors import SourceError

from ..tracer.schema import SPANS
from ..tracer.window import Window
from .compact import COLUMNS, TEXTS, OpaqueIds, Profiles, packed, trace_keys, unpacked, with_profile
from .engine import connect, run
from .link import Shapes, link_compact
from .rollup import STEP_NS, Rollups, empty, merge, roll_up_linked

# About 500 bytes a span at the peak of linking a slice.
SLICE_SPANS = 600_000
_THREADS = 2
_BATCH_ROWS = 128 * 1024


@dataclass(frozen=True)
class Plan:
    """Which slice a span belongs to: ``bounds`` are the first steps of the slices of time, each split by trace key into
    ``parts`` when too many spans begin in one step; ``strayed`` are the traces with spans in several slices of time,
    sorted, and ``homes`` their slice."""

    bounds: np.ndarray
    parts: np.ndarray
    strayed: np.ndarray
    homes: np.ndarray

    @property
    def slices(self) -> int:
        """How many slices there are."""
        return int(self.parts.sum())

    def slice_of(self, traces: np.ndarray, start_ns: np.ndarray) -> np.ndarray:
        """Return the slice of each span, given its trace key and its start."""
        time = self.time_slice(start_ns)
        if len(self.strayed):
            at = np.minimum(np.searchsorted(self.strayed, traces), len(self.strayed) - 1)
            time = np.where(self.strayed[at] == traces, self.homes[at], time)
        first = np.cumsum(self.parts) - self.parts
        found: np.ndarray = first[time] + (traces % self.parts[time].astype(np.uint64)).astype(np.int64)
        return found

    def time_slice(self, start_ns: np.ndarray) -> np.ndarray:
        """Return the slice of time in which each span starts."""
        found: np.ndarray = np.searchsorted(self.bounds, start_ns // STEP_NS, side="right") - 1
        return found


def roll_up_segments(
    paths: Sequence[Path | str], window: Window | None = None, *, slice_spans: int = SLICE_SPANS
) -> Rollups:
    """Return the rollups of the spans in Parquet segments that start in ``window`` (None: all).

    Parameters
    ----------
    paths
        Files in the schema `hypocenter.tracer.schema.SPANS`, in any order of spans.
    window
        Spans outside are not read, so a trace across its edge is linked as far as it lies within.
    slice_spans
        Spans that are linked at once, the bound of memory; about; it does not change the result.

    Raises
    ------
    SourceError
        A segment is damaged, or went away meanwhile (retryable).

    Notes
    -----
    Peak memory is about 1.2 GB at the default, whatever the number of spans; each takes 60 bytes on disk meanwhile.
    """
    try:
        return _roll_up(paths, window, slice_spans, are_ids_hex=True)
    except OpaqueIds:
        return _roll_up(paths, window, slice_spans, are_ids_hex=False)


def _roll_up(paths: Sequence[Path | str], window: Window | None, slice_spans: int, are_ids_hex: bool) -> Rollups:
    counts = _spans_by_step(paths, window)
    if not counts:
        return empty()
    plan = _plan(paths, window, counts, slice_spans, are_ids_hex)
    with tempfile.TemporaryDirectory(prefix="hypocenter-") as folder:
        profiles = Profiles()
        files = _distribute(paths, window, plan, profiles, Path(folder), are_ids_hex)
        with connect() as database, ThreadPoolExecutor(_THREADS) as pool:
            shapes = Shapes.of(database, profiles.table(), fold_operations=True)
            return merge(pool.map(lambda file: _roll_up_slice(file, shapes), files))


def _batches(paths: Sequence[Path | str], window: Window | None, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.dataset as ds

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
            columns=list(columns), filter=within, batch_size=_BATCH_ROWS, batch_readahead=2, fragment_readahead=2
        )
        for batch in scanner.to_batches():
            if batch.num_rows:
                yield batch
    except FileNotFoundError as error:  # compaction or retention was faster
        raise SourceError(f"segments changed while they were read: {error}", retryable=True) from error
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"segments cannot be read: {str(error).splitlines()[0]}") from error


def _spans_by_step(paths: Sequence[Path | str], window: Window | None) -> dict[int, int]:
    counts: dict[int, int] = {}
    if not paths:
        return counts
    for batch in _batches(paths, window, ["start_ns"]):
        steps, spans = np.unique(batch.column("start_ns").to_numpy() // STEP_NS, return_counts=True)
        for step, count in zip(steps.tolist(), spans.tolist(), strict=True):
            counts[step] = counts.get(step, 0) + count
    return counts


def _plan(
    paths: Sequence[Path | str], window: Window | None, counts: dict[int, int], slice_spans: int, are_ids_hex: bool
) -> Plan:
    # Slices of equal size, so that threads end together; a size is exceeded by a step at most.
    steps = np.array(sorted(counts))
    spans = np.array([counts[step] for step in steps.tolist()])
    share = spans.sum() / -(-spans.sum() // slice_spans)
    number = ((np.cumsum(spans) - spans) // share).astype(np.int64)
    _, starts, slices = np.unique(number, return_index=True, return_inverse=True)
    bounds = steps[starts]
    parts = np.maximum(1, np.rint(np.bincount(slices, spans) / slice_spans)).astype(np.int64)
    plan = Plan(bounds, parts, np.empty(0, np.uint64), np.empty(0, np.int64))
    if len(bounds) == 1:
        return plan
    schema = pa.schema([("trace", pa.uint64()), ("slice", pa.int32())])
    opaque: list[OpaqueIds] = []

    def times() -> Iterator[pa.RecordBatch]:
        for batch in _batches(paths, window, ["trace_id", "start_ns"]):
            try:
                traces = trace_keys(batch.column("trace_id"), are_ids_hex)
            except OpaqueIds as error:  # the engine that reads this stream would wrap it
                opaque.append(error)
                return
            slices = plan.time_slice(batch.column("start_ns").to_numpy()).astype(np.int32)
            yield pa.record_batch([pa.array(traces), pa.array(slices)], schema=schema)

    strayed = run("strayed_traces", {"times": pa.RecordBatchReader.from_batches(schema, times())})
    if opaque:
        raise opaque[0]
    return Plan(plan.bounds, parts, strayed.column("trace").to_numpy(), strayed.column("home").to_numpy())


def _distribute(
    paths: Sequence[Path | str],
    window: Window | None,
    plan: Plan,
    profiles: Profiles,
    folder: Path,
    are_ids_hex: bool,
) -> list[Path]:
    """Write each span to the file of its slice and return the files."""
    files = [folder / f"{number}.arrow" for number in range(plan.slices)]
    writers: dict[int, pa.RecordBatchStreamWriter] = {}

    def write(batch: pa.RecordBatch, profile: np.ndarray) -> None:
        rows = packed(batch, are_ids_hex)
        slices = plan.slice_of(rows.column("trace_key").to_numpy(), rows.column("start_ns").to_numpy())
        # Stable sorting takes linear time for integers of 16 bits.
        order = np.argsort(slices.astype(np.uint16) if plan.slices <= 2**16 else slices, kind="stable")
        present, first = np.unique(slices[order], return_index=True)
        rows = with_profile(rows, profile).take(pa.array(order))
        for number, start, end in zip(present.tolist(), first, [*first[1:], len(order)], strict=True):
            if number not in writers:
                writers[number] = stack.enter_context(pa.ipc.new_stream(str(files[number]), rows.schema))
            writers[number].write_batch(rows.slice(start, end - start))

    # One core numbers profiles while the other converts ids and writes; two batches may wait, no more.
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        written: deque[Future[None]] = deque()
        for batch in _batches(paths, window, COLUMNS):
            written.append(pool.submit(write, batch, profiles.encode(batch)))
            if len(written) > 2:
                written.popleft().result()
        for last in written:
            last.result()
    return [files[number] for number in sorted(writers)]


def _roll_up_slice(file: Path, shapes: Shapes) -> Rollups:
    with pa.ipc.open_stream(str(file)) as reader:
        rows = unpacked(reader.read_all())
    file.unlink()
    with shapes.database.cursor() as cursor:
        return roll_up_linked(link_compact(rows, replace(shapes, database=cursor)))
