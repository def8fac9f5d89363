"""Times in the wrong unit: what reads as a moment before 1990 in nanoseconds may be one of today in microseconds."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from .batch import Batch

_1990_NS: Final = 631_152_000 * 10**9
_2100_NS: Final = 4_102_444_800 * 10**9
_UNITS: Final = {"microseconds": 10**3, "milliseconds": 10**6, "seconds": 10**9}


def mend_units(batch: Batch) -> Batch:
    """Return the batch with the start and duration of spans in nanoseconds where they came in a larger unit.

    A start before 1990 is taken for microseconds, milliseconds or seconds when that puts it between 1990 and 2100;
    any other stays (clocks that begin at zero). Each repair is counted; times inside of ``events`` stay as they are.
    """
    spans = batch.table("spans")
    start = spans.column("start_ns").to_numpy()
    early = (start > 0) & (start < _1990_NS)
    if not early.any():
        return batch
    duration = spans.column("duration_ns").to_numpy()
    factor = np.ones(len(start), "i8")
    for unit, scale in _UNITS.items():
        fits = early & (start >= _1990_NS // scale) & (start < _2100_NS // scale) & (duration < 2**62 // scale)
        factor[fits] = scale
        batch.tally.repair(f"{unit} given for nanoseconds", int(fits.sum()))
    for name, column in (("start_ns", start), ("duration_ns", duration)):
        at = spans.schema.get_field_index(name)
        spans = spans.set_column(at, spans.schema.field(at), pa.array(column * factor))
    return Batch({**batch.tables, "spans": spans}, batch.tally)
