"""Calls of a window of a store one by one, linked an hour at a time so that memory does not grow with the window."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.schema import SPANS
from ..tracer.store import Store
from ..tracer.window import Window
from ..tracer.window import hours as whole_hours
from .cache import OVERLAP_NS
from .compact import COLUMNS
from .link import link
from .named_telemetry import PLACE, names_of, with_names


@cache
def calls_schema() -> pa.Schema:
    """Return the columns of calls (docs/linking.md); ids and texts are null where a side was not recorded."""
    return link(SPANS.empty_table()).calls.schema


def scan_calls(store: Store, window: Window | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the calls that start in ``window`` (None: all) as `hypocenter.graph.link.link` gives them, hour by hour."""
    for part, spans in hours(store, window):
        calls = link(spans).calls
        begun = calls["start_ns"]
        within = pc.and_(pc.greater_equal(begun, part.start_ns), pc.less(begun, part.end_ns))
        yield from calls.filter(within).combine_chunks().to_batches()


def hours(store: Store, window: Window | None = None) -> Iterator[tuple[Window, pa.Table]]:
    """Yield ``window`` (None: all that the store holds) hour by hour, each with its spans and those 5 minutes around.

    A trace is linked as far as it lies within that, as in the rollups; hours without spans are left out. Services are
    named as their nodes, alike in all hours.
    """
    held = store.bounds("spans")
    if held is None:
        return
    start_ns = held.start_ns if window is None else max(window.start_ns, held.start_ns)
    end_ns = held.end_ns if window is None else min(window.end_ns, held.end_ns)
    # Rollups of whole hours tell apart what these hours tell apart.
    whole = list(whole_hours(start_ns, end_ns))
    around = Window(whole[0].start_ns - OVERLAP_NS, whole[-1].end_ns + OVERLAP_NS) if whole else window
    names = names_of(store.scan("spans", around, columns=["service", *PLACE]))
    for hour in whole:
        part = Window(max(hour.start_ns, start_ns), min(hour.end_ns, end_ns))
        spans = store.read("spans", Window(part.start_ns - OVERLAP_NS, part.end_ns + OVERLAP_NS), columns=COLUMNS)
        if spans.num_rows:
            yield part, with_names(spans, names)
