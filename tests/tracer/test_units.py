"""Spans whose times came in a larger unit than nanoseconds."""

from hypocenter.tracer.batch import Batch, table_of
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.units import mend_units

START = 1_700_000_000


def test_larger_units_are_mended_and_clocks_from_zero_stay() -> None:
    starts = [START * 10**9, START * 10**6, START * 10**3, START, 300_000, 0]
    required = {"trace_id": "t", "span_id": "s", "name": "", "kind": 0, "status": 0, "adjusted_milli": 1000}
    columns = {**required, "source": "x", "start_ns": starts, "duration_ns": [7] * len(starts)}
    batch = mend_units(Batch({"spans": table_of(SPANS, columns, len(starts))}))
    found = batch.table("spans")
    assert found["start_ns"].to_pylist() == [START * 10**9] * 4 + [300_000, 0]
    assert found["duration_ns"].to_pylist() == [7, 7 * 10**3, 7 * 10**6, 7 * 10**9, 7, 7]
    assert batch.tally.repaired == {
        "microseconds given for nanoseconds": 1,
        "milliseconds given for nanoseconds": 1,
        "seconds given for nanoseconds": 1,
    }
