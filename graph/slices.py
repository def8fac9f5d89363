"""Linking and rolling up any number of spans in bounded memory: slices of whole traces, one after the other.

Spans arrive interleaved and late. They are read once and laid aside as numbers, by the step in which they start. A
trace belongs to the slice of its earliest span: the few spans that start in a later slice are moved. Each slice is then
linked alone, to be rolled up or to be told call by call.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from ..tracer.window import Window
from .compact import COLUMNS, packed, senders, unpacked, with_profile
from .ids import OpaqueIds
from .link import link_compact
from .messages import Linked, Sent
from .profiles import Profiles
from .queries import connect, run_in
from .rollup import STEP_NS, Rollups, joined, merge, roll_up_linked, split
from .rules import Rules
from .segments import BATCH_ROWS, batches
from .slice_plan import THREADS, move_strayed, planned, read_all, read_slice
from .spill import Spill

# Arrays of a slice that fit into a core's cache are worked on twice as fast as larger ones.
SLICE_SPANS = 200_000
_KEPT_BYTES = 8 * 2**20
# Fewer slices are summed in one go, at the end.
_SUMMED_AT_ONCE = 12

Found = TypeVar("Found")
Read = Callable[[], Iterator[pa.RecordBatch]]
# Rows of a slice, when linked messages were sent, rules.
Work = Callable[[pa.Table, Sent, Rules], Found]


def roll_up_segments(
    paths: Sequence[Path | str], window: Window | None = None, *, slice_spans: int = SLICE_SPANS, sample: int = 1
) -> Rollups:
    """Return the rollups of the spans in Parquet segments that start in ``window`` (None: all).

    Parameters
    ----------
    paths
        Files in the schema `hypocenter.tracer.schema.SPANS`, in any order of spans.
    window
        Spans outside are not read, so a trace across its edge is linked as far as it lies within.
    sample
        Only one trace in so many is read; adjusted counts make up for the others.
    slice_spans
        Spans that are linked at once, the bound of memory; about; it does not change the result.

    Raises
    ------
    SourceError
        A segment is damaged, or went away meanwhile (retryable).

    Notes
    -----
    Peak memory is about 0.5 GB at the default and what the rollups take, whatever the number of spans; each span takes
    60 bytes on disk meanwhile, a span link 40 bytes of memory.
    """
    return roll_up_read(partial(batches, paths, window, COLUMNS, sample), slice_spans)


def roll_up_read(read: Read, slice_spans: int = SLICE_SPANS) -> Rollups:
    """Return the rollups of the spans that ``read`` yields (`of_slices`)."""
    slices = of_slices(read, _rolled_up, slice_spans, fold_operations=True, ahead=_SUMMED_AT_ONCE)
    return added_up(slices)


def of_slices(
    read: Read, work: Work[Found], slice_spans: int = SLICE_SPANS, *, fold_operations: bool, ahead: int = THREADS
) -> Iterator[tuple[int | None, Found]]:
    """Yield what ``work`` makes of each slice of the spans that ``read`` yields, slices in order of time.

    Parameters
    ----------
    read
        Yields all spans, columns `hypocenter.graph.compact.COLUMNS`; it is called again when ids are not hex.
    work
        Is given the slice's rows (`hypocenter.graph.compact.packed`, with profiles), when linked messages were sent,
        and the rules; it runs in threads.
    fold_operations
        As `hypocenter.graph.rules.Rules.of`.
    ahead
        How many results may wait to be taken.

    Returns
    -------
    Each result with the time, nanoseconds since the epoch, before which no later slice has a span; None when the next
    one has spans of the same time.
    """
    try:
        yield from _of_slices(read, work, slice_spans, fold_operations, ahead, are_ids_hex=True)
    except OpaqueIds:  # found while spans are laid aside, so before the first result
        yield from _of_slices(read, work, slice_spans, fold_operations, ahead, are_ids_hex=False)


def _of_slices(
    read: Read, work: Work[Found], slice_spans: int, fold_operations: bool, ahead: int, are_ids_hex: bool
) -> Iterator[tuple[int | None, Found]]:
    _keep_freed_memory()
    with (
        tempfile.TemporaryDirectory(prefix="hypocenter-") as folder,
        ExitStack() as opened,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        opening = pool.submit(opened.enter_context, connect())
        spans, strays, profiles = Spill(Path(folder) / "spans"), Spill(Path(folder) / "strays"), Profiles()
        linked = _lay_aside(read, profiles, spans, are_ids_hex)
        if not spans.rows:
            return
        database = opening.result()
        # Rules are found while spans are divided.
        run = partial(run_in, database.cursor())
        judging = pool.submit(Rules.of, run, profiles.table(), fold_operations=fold_operations)
        plan = planned(spans, slice_spans, database)
        if len(plan.strayed):
            move_strayed(spans, strays, plan)
        rules = judging.result()
        sent = linked.sent(senders(rows, rules.is_sender) for rows in read_all(spans, plan))
        waiting: deque[tuple[int | None, Future[Found]]] = deque()
        for time, parts in enumerate(plan.parts.tolist()):
            for part in range(parts):
                before_ns = int(plan.bounds[time + 1]) * STEP_NS if part == parts - 1 else None
                at_work = pool.submit(
                    lambda time, part: work(read_slice(spans, strays, plan, time, part), sent, rules), time, part
                )
                waiting.append((before_ns, at_work))
                if len(waiting) > ahead:
                    yield _taken(waiting)
        while waiting:
            yield _taken(waiting)


def _taken(waiting: deque[tuple[int | None, Future[Found]]]) -> tuple[int | None, Found]:
    before_ns, found = waiting.popleft()
    return before_ns, found.result()


def _lay_aside(read: Read, profiles: Profiles, spans: Spill, are_ids_hex: bool) -> Linked:
    """Write each span, as numbers, under the step in which it starts; return what spans link."""
    links: list[Linked] = []
    small: list[pa.RecordBatch] = []

    def write(batch: pa.RecordBatch | None, profile: np.ndarray) -> None:
        if batch is not None:
            rows, linked = packed(batch, are_ids_hex)
            small.append(with_profile(rows, profile))
            links.append(linked)
        if small and (batch is None or sum(len(rows) for rows in small) >= BATCH_ROWS // 4):
            (rows,) = pa.Table.from_batches(small).combine_chunks().to_batches()
            small.clear()
            spans.add(rows, rows.column("start_ns").to_numpy() // STEP_NS)

    # One core numbers profiles while the other converts ids and writes; two batches may wait, no more.
    with ThreadPoolExecutor(1) as pool:
        written: deque[Future[None]] = deque()
        for batch in read():
            written.append(pool.submit(write, batch, profiles.encode(batch)))
            if len(written) > 2:
                written.popleft().result()
        for last in (*written, pool.submit(write, None, np.empty(0, np.int32))):
            last.result()
    spans.close()
    return Linked.together(links)


def added_up(slices: Iterable[tuple[int | None, Rollups]]) -> Rollups:
    """Return the sum of the rollups of slices, as `of_slices` yields them.

    A trace is in the slice of its earliest span, so a slice adds nothing before its first step: what lies before is
    summed at once, and not copied once more with all the rest at the end.
    """
    done: list[Rollups] = []
    unfinished: list[Rollups] = []
    for before_ns, found in slices:
        unfinished.append(found)
        if len(unfinished) >= _SUMMED_AT_ONCE and before_ns is not None:
            before, after = split(merge(unfinished), before_ns)
            done.append(before)
            unfinished = [after]
    with ThreadPoolExecutor(THREADS) as pool:
        return joined([*done, merge(unfinished, pool.map)])


def _rolled_up(rows: pa.Table, sent: Sent, rules: Rules) -> Rollups:
    return roll_up_linked(link_compact(unpacked(rows, sent), rules))


def _keep_freed_memory() -> None:
    """Let glibc's allocator use freed arrays again in place of giving them back to the system.

    Each page that comes from the system is cleared first, which for the arrays of a slice takes longer than some of
    the work on them. Having freed a block, glibc keeps blocks of up to that size (mallopt(3), M_MMAP_THRESHOLD) and
    twice as much that is free: more would stay with a process for good. This block is never touched, and so costs
    nothing; other allocators do not care.
    """
    np.empty(_KEPT_BYTES, np.uint8)
