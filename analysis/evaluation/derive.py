"""Cases made from cases: telemetry taken away, and windows of a quiet recording in which nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ...tracer.batch import Batch
from ...tracer.schema import TIME_COLUMN
from ..case import Case, Symptom
from ..onset import BASELINE_NS, EARLIEST_NS, INCIDENT_NS, LATEST_NS
from .cases import CaseReader, Derive, LabelledCase

# Where in the middle of a quiet recording a false alarm is raised; before it must be enough to compare with.
_ALARMS = (0.3, 0.4, 0.5, 0.6, 0.7)
# A longer one has room for as many that do not overlap, up to so many.
_MOST_ALARMS = 20
_WINDOW_NS = EARLIEST_NS + BASELINE_NS + LATEST_NS + INCIDENT_NS
_MODALITIES = {"traces": ("spans",), "metrics": ("series", "points"), "logs": ("logs",), "events": ("events",)}


def derived(case: LabelledCase, changes: Sequence[Derive]) -> LabelledCase:
    """Return the case with ``changes`` applied, in order, after what it was derived by already."""
    steps = [*([case.derive] if case.derive else []), *changes]
    return replace(case, derive=lambda made: reduce(lambda so_far, step: step(so_far), steps, made))


def without(modality: str) -> Derive:
    """Return a derivation that takes a modality away, in the incident and in the baseline.

    ``modality`` is traces, metrics, logs, events or ``service=NAME`` (the telemetry of that service alone); anything
    else is a ValueError.
    """
    if modality.startswith("service="):
        return _both(lambda batch: _without_service(batch, modality.removeprefix("service=")))
    if modality not in _MODALITIES:
        raise ValueError(f"expected one of {', '.join(_MODALITIES)} or service=NAME, got {modality!r}")
    gone = _MODALITIES[modality]
    return _both(lambda batch: replace(batch, tables={s: t for s, t in batch.tables.items() if s not in gone}))


def uninstrumented(service: str) -> Derive:
    """Return a derivation in which ``service`` sends no spans and no logs; what others measure of it stays."""

    def silence(batch: Batch) -> Batch:
        kept = {signal: _others(batch.table(signal), service) for signal in ("spans", "logs") if signal in batch.tables}
        return replace(batch, tables=batch.tables | kept)

    return _both(silence)


def drop_spans(share: float, seed: int = 0) -> Derive:
    """Return a derivation in which each span is lost with probability ``share``, drawn by its ids and ``seed``."""
    if not 0 <= share < 1:
        raise ValueError(f"expected a share in [0, 1), got {share}")

    def lose(batch: Batch) -> Batch:
        spans = batch.table("spans")
        if not spans.num_rows:
            return batch
        # By id, so that a span has the same fate in every case that holds it, in whatever order. Ids may be numbered in
        # sequence, so the hash must scatter neighbours, which a checksum does not.
        ids = pc.binary_join_element_wise(spans["trace_id"], spans["span_id"], pa.scalar(str(seed)), "/")
        draws = pd.util.hash_array(ids.to_numpy(zero_copy_only=False), categorize=False) / 2.0**64
        return replace(batch, tables=batch.tables | {"spans": spans.filter(pa.array(draws >= share))})

    return _both(lose)


def _both(change: Callable[[Batch], Batch]) -> Derive:
    return lambda case: replace(case, telemetry=change(case.telemetry), baseline=change(case.baseline))


def _without_service(batch: Batch, service: str) -> Batch:
    return replace(batch, tables={signal: _others(table, service) for signal, table in batch.tables.items()})


def _others(table: pa.Table, service: str) -> pa.Table:
    if "service" not in table.column_names:
        return table
    return table.filter(pc.fill_null(pc.not_equal(table["service"], service), True))


def quiet_cases(labelled: Sequence[LabelledCase]) -> Iterator[LabelledCase]:
    """Yield cases without a fault: false alarms in quiet recordings, and in what precedes a fault.

    Each distinct baseline recording gives five, or up to twenty if it has room for so many hours; what of it is far
    from the alarm is its baseline. A case with traces and no baseline gives one, halfway between the beginning of its
    telemetry and its fault, unless it is a window without a fault itself. Where only what precedes the alarm can serve
    as a baseline, it is harder than a case is. Recordings are read once for their length.
    """
    reader, seen = CaseReader(), set()
    for case in labelled:
        files = {role: paths for role, paths in case.files("baseline").items() if paths}
        if not files:
            if case.answers and case.files("paths").get("traces"):
                yield _quiet(case, f"before-{case.name}", _before_the_fault)
            continue
        key = tuple(sorted(files.items()))
        if key in seen:
            continue
        seen.add(key)
        for share in _alarms(reader.read(replace(case, derive=None)).baseline):
            yield _quiet(case, f"quiet-{len(seen)}-{share:.0%}", partial(_false_alarm, share=share))


def _alarms(recording: Batch) -> Sequence[float]:
    """Return after which shares of a quiet recording an alarm is raised."""
    first_ns, last_ns = _bounds(recording)
    n = min((last_ns - first_ns) // _WINDOW_NS, _MOST_ALARMS)
    return _ALARMS if n <= len(_ALARMS) else [(i + 0.5) / n for i in range(n)]


def _quiet(case: LabelledCase, name: str, derive: Derive) -> LabelledCase:
    return replace(case, name=name, fault_type="none", answers=frozenset(), origins=(), derive=derive)


def _false_alarm(case: Case, share: float) -> Case:
    """Return the case of an alarm after ``share`` of the baseline's time."""
    first_ns, last_ns = _bounds(case.baseline)
    alert_ns = first_ns + round(share * (last_ns - first_ns))
    low, high = alert_ns - EARLIEST_NS - BASELINE_NS, alert_ns + LATEST_NS + INCIDENT_NS
    if low <= first_ns and last_ns < high:
        return replace(case, telemetry=case.baseline, baseline=Batch(), alert_ns=alert_ns, symptom=Symptom())
    near = {signal: _between(signal, table, low, high) for signal, table in case.baseline.tables.items()}
    far = {
        signal: pa.concat_tables([_between(signal, table, first_ns, low), _between(signal, table, high, last_ns + 1)])
        if signal in TIME_COLUMN
        else table
        for signal, table in case.baseline.tables.items()
    }
    return replace(case, telemetry=Batch(near), baseline=Batch(far), alert_ns=alert_ns, symptom=Symptom())


def _before_the_fault(case: Case) -> Case:
    """Return the case of an alarm halfway to the fault, without all that was not over when the fault began."""
    tables = {signal: _over_by(signal, table, case.alert_ns) for signal, table in case.telemetry.tables.items()}
    before = replace(case.telemetry, tables=tables)
    first_ns, _ = _bounds(before)
    return replace(case, telemetry=before, alert_ns=(first_ns + case.alert_ns) // 2, symptom=Symptom())


def _between(signal: str, table: pa.Table, start_ns: int, end_ns: int) -> pa.Table:
    if signal not in TIME_COLUMN:
        return table
    time = table[TIME_COLUMN[signal]]
    return table.filter(pc.and_(pc.greater_equal(time, start_ns), pc.less(time, end_ns)))


def _over_by(signal: str, table: pa.Table, time_ns: int) -> pa.Table:
    if signal not in TIME_COLUMN:
        return table
    end = table[TIME_COLUMN[signal]]
    end = pc.add(end, table["duration_ns"]) if signal == "spans" else end
    return table.filter(pc.less(end, time_ns))


def _bounds(batch: Batch) -> tuple[int, int]:
    """Return the first and the last time of the spans, of the points where there are none."""
    spans, points = batch.table("spans"), batch.table("points")
    signal, table = ("spans", spans) if spans.num_rows else ("points", points)
    bounds = pc.min_max(table[TIME_COLUMN[signal]]).as_py()
    return int(bounds["min"]), int(bounds["max"])
