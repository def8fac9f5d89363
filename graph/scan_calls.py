"""Calls of a window of a store one by one, linked in slices of whole traces so that memory does not grow with spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.schema import SPANS
from ..tracer.store import Store
from ..tracer.window import Window
from .cache import OVERLAP_NS
from .compact import COLUMNS, unpacked
from .ids import OpaqueIds, hex_texts
from .link import Links, link, link_compact, told
from .messages import Sent
from .named_telemetry import PLACE, names_of, with_names
from .node_names import Identity
from .rules import Rules
from .segments import batches
from .slices import SLICE_SPANS, Found, Read, of_slices


@cache
def calls_schema() -> pa.Schema:
    """Return the columns of calls (docs/linking.md); ids and texts are null where a side was not recorded."""
    return link(SPANS.empty_table()).calls.schema


def scan_calls(
    store: Store, window: Window | None = None, *, slice_spans: int = SLICE_SPANS
) -> Iterator[pa.RecordBatch]:
    """Yield the calls that start in ``window`` (None: all) as `hypocenter.graph.link.link` gives them, hour by hour.

    ``slice_spans`` are linked at once, about: it bounds memory, and decides nothing but the order within an hour.
    """
    for part, read in hours(store, window):
        for _, calls in of_links(read, partial(_begun, part), slice_spans):
            yield from calls.to_batches()


def hours(store: Store, window: Window | None = None) -> Iterator[tuple[Window, Read]]:
    """Yield ``window`` (None: all that the store holds) hour by hour, each with what reads its spans and those around.

    A trace is linked as far as it lies within 5 minutes of the hour, as in the rollups; hours without spans are left
    out. Spans come as `hypocenter.graph.slices.of_slices` reads them, services named as their nodes, alike in all
    hours.
    """
    store = store.snapshot()
    held = store.hours("spans", window)
    if not held:
        return
    # Rollups of whole hours tell apart what these hours tell apart.
    whole = Window(held[0].start_ns - OVERLAP_NS, held[-1].end_ns + OVERLAP_NS)
    names = names_of(store.scan("spans", whole, columns=["service", *PLACE]))
    for hour in held:
        start_ns = hour.start_ns if window is None else max(hour.start_ns, window.start_ns)
        part = Window(start_ns, hour.end_ns if window is None else min(hour.end_ns, window.end_ns))
        around = Window(part.start_ns - OVERLAP_NS, part.end_ns + OVERLAP_NS)
        yield part, partial(_named, store.paths("spans", around), around, names)


def _named(paths: Sequence[str], window: Window, names: Mapping[Identity, str]) -> Iterator[pa.RecordBatch]:
    """Yield the spans of a window with each service named as its node."""
    for batch in batches(paths, window, COLUMNS):
        if not names:
            yield batch
            continue
        at = batch.schema.get_field_index("service")
        plain = batch.set_column(at, "service", batch.column("service").cast(pa.string()))
        yield from with_names(pa.Table.from_batches([plain]), names).combine_chunks().to_batches()


def of_links(
    read: Read, work: Callable[[Links], Found], slice_spans: int = SLICE_SPANS, *, fold_operations: bool = False
) -> Iterator[tuple[int | None, Found]]:
    """Yield what ``work`` makes of the links of each slice of spans, as `hypocenter.graph.slices.of_slices` does."""
    digits: set[int] = set()

    def read_alike() -> Iterator[pa.RecordBatch]:
        """Yield the spans; as numbers, trace ids of two lengths could not be told as they came."""
        is_first = not digits
        for batch in read():
            digits.add(len(batch.column("trace_id")[0].as_py()))
            if is_first and len(digits) > 1:
                raise OpaqueIds("trace ids are not of one length")
            yield batch

    def linked(rows: pa.Table, sent: Sent, rules: Rules) -> Found:
        names = rules.profiles.column("operation").combine_chunks().cast(pa.string())
        names = names.take(rows.column("profile").combine_chunks())
        return work(told(link_compact(unpacked(rows, sent), rules), _ids(rows, max(digits)), names))

    yield from of_slices(read_alike, linked, slice_spans, fold_operations=fold_operations)


def _ids(rows: pa.Table, trace_digits: int) -> dict[str, pa.Array]:
    """Return the ids of `hypocenter.graph.compact.packed` spans as they were read."""
    if "trace_id" in rows.column_names:
        return {name: rows.column(name).combine_chunks() for name in ("trace_id", "span_id", "parent_span_id")}
    words = [rows.column(name).to_numpy() for name in ("trace_rest", "trace_key")][-(trace_digits // 16) :]
    parents = rows.column("parent_span_id").combine_chunks()
    return {
        "trace_id": hex_texts(np.column_stack(words)),
        "span_id": hex_texts(rows.column("span_id").to_numpy()[:, None]),
        "parent_span_id": pc.if_else(parents.is_valid(), hex_texts(parents.fill_null(0).to_numpy()[:, None]), None),
    }


def _begun(window: Window, links: Links) -> pa.Table:
    """Return the calls that start in a window."""
    begun = links.calls["start_ns"]
    within = pc.and_(pc.greater_equal(begun, window.start_ns), pc.less(begun, window.end_ns))
    return links.calls.filter(within).combine_chunks()
