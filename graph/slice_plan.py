"""Which slice takes a span: slices of time of equal size, each with the whole traces that begin in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from .ordering import runs
from .queries import run_in
from .spill import Spill

# How many slices are linked at once.
THREADS: Final = 2


@dataclass(frozen=True)
class Plan:
    """Which slice a span belongs to: ``bounds`` are the first steps of the slices of time, each split by trace key into
    ``parts`` when too many spans begin in one step; ``strayed`` are the traces with spans in several slices of time,
    sorted, and ``homes`` the one that takes them whole."""

    bounds: np.ndarray
    parts: np.ndarray
    strayed: np.ndarray
    homes: np.ndarray

    def home_of(self, traces: np.ndarray, slice_of_time: int) -> np.ndarray:
        """Return the slice of time that takes each span, given its trace key and the slice in which it starts."""
        homes = np.full(len(traces), slice_of_time)
        if len(self.strayed):
            # Few traces stray: the last bits of the others tell most of them, without a search.
            maybe = np.flatnonzero(self._bits_of_strayed[traces & np.uint64(len(self._bits_of_strayed) - 1)])
            at = np.minimum(np.searchsorted(self.strayed, traces[maybe]), len(self.strayed) - 1)
            has_strayed = self.strayed[at] == traces[maybe]
            homes[maybe[has_strayed]] = self.homes[at[has_strayed]]
        return homes

    @cached_property
    def _bits_of_strayed(self) -> np.ndarray:
        """Whether a trace that strayed has these last bits, as many as make a sixteenth of all true at most."""
        found = np.zeros(max(2**16, 16 << len(self.strayed).bit_length()), bool)
        found[self.strayed & np.uint64(len(found) - 1)] = True
        return found


def planned(spans: Spill, slice_spans: int, database: duckdb.DuckDBPyConnection) -> Plan:
    """Return the plan of the spans that were laid aside by step, slices of about ``slice_spans``."""
    # Slices of equal size, as many for each thread, so that these end together; a size is exceeded by a step at most.
    steps, sizes = spans.sizes()
    share = sizes.sum() / _as_many_for_each_thread(-(-sizes.sum() // slice_spans))
    number = ((np.cumsum(sizes) - sizes) // share).astype(np.int64)
    _, starts, slices = np.unique(number, return_index=True, return_inverse=True)
    bounds = np.append(steps[starts], steps[-1] + 1)
    parts = np.maximum(1, np.rint(np.bincount(slices, sizes) / slice_spans)).astype(np.int64)
    plan = Plan(bounds, parts, np.empty(0, np.uint64), np.empty(0, np.int64))
    if len(parts) == 1:
        return plan
    schema = pa.schema([("trace", pa.uint64()), ("slice", pa.int64())])

    def times() -> Iterator[pa.RecordBatch]:
        for time in range(len(parts)):
            for rows in spans.read(*bounds[time : time + 2]):
                traces = rows.column("trace_key").to_numpy()
                traces = traces[runs(traces)]
                yield pa.record_batch([pa.array(traces), pa.array(np.full(len(traces), time))], schema=schema)
            spans.forget()

    strayed = run_in(database, "strayed_traces", {"times": pa.RecordBatchReader.from_batches(schema, times())})
    return replace(plan, strayed=strayed.column("trace").to_numpy(), homes=strayed.column("home").to_numpy())


def move_strayed(spans: Spill, strays: Spill, plan: Plan) -> None:
    """Write the spans that do not belong to the slice of time in which they start, each under the one of its trace."""
    for time in range(len(plan.parts)):
        for rows in spans.read(*plan.bounds[time : time + 2]):
            home = plan.home_of(rows.column("trace_key").to_numpy(), time)
            away = np.flatnonzero(home != time)
            if len(away):
                strays.add(rows.take(pa.array(away)), home[away])
        spans.forget()
    strays.close()


def read_all(spans: Spill, plan: Plan) -> Iterator[pa.RecordBatch]:
    """Yield all spans, a slice of time after the other."""
    for bounds in itertools.pairwise(plan.bounds):
        yield from spans.read(*bounds)
        spans.forget()


def read_slice(spans: Spill, strays: Spill, plan: Plan, time: int, part: int) -> pa.Table:
    """Return the spans of the traces of one part of a slice of time."""
    batches = []
    for rows in (*spans.read(*plan.bounds[time : time + 2]), *strays.read(time, time + 1)):
        traces = rows.column("trace_key").to_numpy()
        is_here = plan.home_of(traces, time) == time
        if plan.parts[time] > 1:
            is_here &= traces % np.uint64(plan.parts[time]) == part
        batches.append(rows if is_here.all() else rows.filter(pa.array(is_here)))
    found = pa.Table.from_batches(batches)
    spans.forget()
    strays.forget()
    return found


def _as_many_for_each_thread(slices: int) -> int:
    return slices if slices == 1 else -(-slices // THREADS) * THREADS
