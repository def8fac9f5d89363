"""Linking on a cluster: spans go to the partition of their trace, where the linker of one machine links them.

Everything here runs in a task of Spark: it reads segments or gets blocks of other tasks, and returns small tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.window import Window
from .compact import COLUMNS, packed, senders, unpacked, with_profile
from .ids import OpaqueIds
from .link import link_compact
from .messages import Linked, Sent
from .profiles import PROFILE, Profiles
from .rollup import SCHEMAS, STEP_NS, Rollups, cut, merge, roll_up_linked
from .rules import Rules
from .segments import batches
from .slices import SLICE_SPANS

Ints = np.ndarray
# What rollups are added up by: few enough for one task each.
BUCKET_NS = 30 * STEP_NS
_MIXED = np.uint64(0x9E3779B97F4A7C15)
# The one block of a task that met ids which are not hex of one length.
OPAQUE = (-1, b"")


@dataclass(frozen=True)
class Wanted:
    """Which spans of segments are rolled up: those that start in a window, of one trace in ``sample``."""

    window: Window | None
    sample: int
    are_ids_hex: bool

    def batches(self, paths: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield these spans."""
        return batches(paths, self.window, columns, self.sample)


@dataclass(frozen=True)
class Survey:
    """What all tasks need to know of all spans: their profiles and the messages that they link."""

    profiles: Profiles
    linked: Linked


def survey(paths: Sequence[str], wanted: Wanted) -> Survey | None:
    """Return the profiles and links of the spans of some segments; None when ids are not hex after all."""
    profiles, has_links = Profiles(), False
    for batch in wanted.batches(paths, [*PROFILE, "links"]):
        profiles.encode(batch)
        has_links = has_links or bool(pc.max(pc.list_value_length(batch.column("links"))).as_py())
    if not has_links:
        return Survey(profiles, Linked.together([]))
    try:
        links = [packed(batch, wanted.are_ids_hex)[1] for batch in wanted.batches(paths, COLUMNS)]
    except OpaqueIds:
        return None
    return Survey(profiles, Linked.together(links))


def together(parts: Iterable[Survey]) -> Survey:
    """Return the survey of all tasks."""
    profiles, linked = Profiles(), []
    for part in parts:
        profiles.add(part.profiles)
        linked.append(part.linked)
    return Survey(profiles, Linked.together(linked))


@dataclass(frozen=True)
class Plan:
    """What every task gets: the profiles of all spans, their rules, and how traces are shared out."""

    wanted: Wanted
    profiles: Profiles
    rules: Rules
    partitions: int

    def _rows(self, paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in self.wanted.batches(paths, COLUMNS):
            rows, _ = packed(batch, self.wanted.are_ids_hex)
            yield with_profile(rows, self.profiles.encode(batch))

    def sent(self, paths: Sequence[str], linked: Ints) -> tuple[Ints, Ints, Ints] | None:
        """Return key, start and duration of the spans whose keys others link; None when ids are not hex after all."""
        parts = [(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64))]
        try:
            for rows in self._rows(paths):
                key, start, duration = senders(rows, self.rules.is_sender)
                at = np.isin(key, linked)
                parts.append((key[at], start[at], duration[at]))
        except OpaqueIds:
            return None
        key, start, duration = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return key, start, duration

    def blocks(self, paths: Sequence[str]) -> Iterator[tuple[int, bytes]]:
        """Yield the spans of some segments as numbers, a block for each partition that takes some of them."""
        try:
            found = list(self._rows(paths))
        except OpaqueIds:
            yield OPAQUE
            return
        if not found:
            return
        (rows,) = pa.Table.from_batches(found).combine_chunks().to_batches()
        partition = _mixed(rows.column("trace_key")) % np.uint64(self.partitions)
        order = np.argsort(partition, kind="stable")
        rows, partition = rows.take(pa.array(order)), partition[order]
        first = np.flatnonzero(np.concatenate([[True], partition[1:] != partition[:-1]]))
        for start, size in zip(first.tolist(), np.diff(first, append=len(order)).tolist(), strict=True):
            yield int(partition[start]), _to_bytes(rows.slice(start, size))

    def roll_up(self, blocks: Iterable[bytes], sent: Sent) -> Iterator[tuple[int, Rollups]]:
        """Yield the rollups of the traces of one partition, split by time."""
        rows = pa.concat_tables([_of_bytes(block) for block in blocks]).combine_chunks()
        # As on one machine, arrays of a slice should fit into a core's cache.
        slices = -(-len(rows) // SLICE_SPANS)
        part = (_mixed(rows.column("trace_key")) >> np.uint64(20)) % np.uint64(slices)
        taken = (rows if slices == 1 else rows.filter(pa.array(part == number)) for number in range(slices))
        whole = merge(roll_up_linked(link_compact(unpacked(table, sent), self.rules)) for table in taken)
        yield from _by_bucket(whole)


def _mixed(traces: pa.Array | pa.ChunkedArray) -> Ints:
    """Return numbers that are evenly spread also where the last digits of trace ids are not random."""
    mixed: Ints = (traces.to_numpy() * _MIXED) >> np.uint64(24)
    return mixed


def _by_bucket(rollups: Rollups) -> Iterator[tuple[int, Rollups]]:
    times = np.concatenate([getattr(rollups, name).column("time_ns").to_numpy() for name in SCHEMAS])
    for bucket in np.unique(times // BUCKET_NS).tolist():
        window = Window(bucket * BUCKET_NS, (bucket + 1) * BUCKET_NS)
        yield bucket, Rollups(**{name: cut(getattr(rollups, name), window) for name in SCHEMAS})


def _to_bytes(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())


def _of_bytes(block: bytes) -> pa.Table:
    return pa.ipc.open_stream(block).read_all()
