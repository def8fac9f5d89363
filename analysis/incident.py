"""From a store to a case: the windows around an incident, its symptom, and the telemetry in them, within bounds."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import CaseError

from ..graph.cache import rollups
from ..tracer.batch import Batch
from ..tracer.kubernetes.versions import marks_before, rows_around
from ..tracer.schema import SIGNALS
from ..tracer.store import Store
from ..tracer.window import HOUR_NS, Window
from .case import Case, Symptom
from .onset import BASELINE_NS, EARLIEST_NS, INCIDENT_NS, LATEST_NS
from .symptom import Felt, find_symptom

# Where nobody names a time, only the newest day of the store is searched.
_SEARCHED_NS = 24 * HOUR_NS
# A ranking holds its spans in memory: beyond this traces are sampled, whole.
MOST_SPANS = 400_000
# Traces are kept by the last digits of their id, which are random.
_DIGITS = 4


def case_of(
    store: Store,
    at_ns: int | None = None,
    window: Window | None = None,
    baseline: Window | None = None,
    symptom: str | None = None,
    between: Window | None = None,
    most_spans: int = MOST_SPANS,
) -> Case:
    """Return the case of an incident in a store.

    Parameters
    ----------
    at_ns
        When it was noticed, nanoseconds since the epoch. None: the start of the symptom found in ``window``, else the
        start of ``window``, else the symptom found in the newest day of the store.
    window
        The incident window: telemetry after its end is not looked at.
    baseline
        A quiet window to compare with, beside what precedes the incident.
    symptom
        The service where it hurts. None: found from the entry operations.
    between
        What lies outside is not looked at: the time from the incident before to the one after, where these are known.
    most_spans
        More are sampled, by whole traces.

    Raises
    ------
    CaseError
        The store holds nothing in the windows, or ``at_ns`` lies outside ``window``.
    """
    store = store.snapshot()
    held = store.bounds()
    if held is None:
        raise CaseError(f"{store}: the store is empty; fill it with: hypocenter ingest PATH --store {store}")
    if at_ns is not None and window is not None and not window.start_ns <= at_ns < window.end_ns:
        raise CaseError(f"the alert's time lies outside the window {window}")
    for name, asked in (("the window", window), ("the baseline", baseline)):
        if asked is not None and (asked.end_ns <= held.start_ns or held.end_ns <= asked.start_ns):
            raise CaseError(f"{name} {asked} holds nothing; the store holds {held}")
    if at_ns is not None and not held.start_ns - LATEST_NS <= at_ns <= held.end_ns + EARLIEST_NS:
        raise CaseError(f"nothing around the alert's time; the store holds {held}")
    searched = _searched(held, at_ns, window)
    # Who says where and when it hurts need not wait until that is found.
    is_told = symptom is not None and at_ns is not None
    felt = None if is_told else find_symptom(rollups(store, searched), searched)
    alert_ns = _alert_ns(at_ns, window, felt, searched)
    low, high = (held.start_ns, held.end_ns) if between is None else (between.start_ns, between.end_ns)
    telemetry = Window(
        max(alert_ns - EARLIEST_NS - BASELINE_NS, low, held.start_ns),
        min(alert_ns + LATEST_NS + INCIDENT_NS, window.end_ns if window else held.end_ns, high, held.end_ns),
    )
    batch, notes = _read(store, telemetry, most_spans)
    quiet, quiet_notes = _read(store, baseline, most_spans) if baseline else (Batch(), ())
    hurts = symptom or (felt.service if felt else None)
    signal = felt.signal if felt and hurts == felt.service else None
    noticed = "the alert" if at_ns is not None else "the first symptom" if felt else "the middle of the window"
    return Case(batch, alert_ns, quiet, Symptom(hurts, signal), not_read=notes + quiet_notes, noticed=noticed)


def _searched(held: Window, at_ns: int | None, window: Window | None) -> Window:
    """Return the window in which a symptom is looked for, with some of what precedes it to compare with."""
    if at_ns is not None:
        start, end = at_ns - EARLIEST_NS - BASELINE_NS, at_ns + LATEST_NS + INCIDENT_NS
    elif window is not None:
        start, end = window.start_ns - BASELINE_NS, window.end_ns
    else:
        start, end = held.end_ns - _SEARCHED_NS, held.end_ns
    start, end = max(start, held.start_ns), min(end, held.end_ns)
    return Window(start, max(end, start + 1))


def _alert_ns(at_ns: int | None, window: Window | None, felt: Felt | None, searched: Window) -> int:
    if at_ns is not None:
        return at_ns
    if window is not None:
        inside = felt is not None and window.start_ns <= felt.window.start_ns < window.end_ns
        return felt.window.start_ns if felt is not None and inside else window.start_ns
    # Nothing hurts: any time is as good, and in the middle there is something to compare with on both sides.
    return felt.window.start_ns if felt is not None else (searched.start_ns + searched.end_ns) // 2


def _read(store: Store, window: Window, most_spans: int) -> tuple[Batch, tuple[str, ...]]:
    """Return the telemetry of a window, and what of it was left out."""
    tables = {signal: store.read(signal, window) for signal in SIGNALS if signal not in ("spans", "objects")}
    # An object's version holds until the next, so those before the window tell of it too.
    tables["objects"] = rows_around(store, window)
    tables["events"] = pa.concat_tables([marks_before(store, window.start_ns), tables["events"]])
    rows = sum(s.rows for s in store.segments("spans", window))
    if rows <= most_spans:
        return Batch(tables | {"spans": store.read("spans", window)}), ()
    limit = pa.scalar(f"{int(most_spans / rows * 16**_DIGITS):0{_DIGITS}x}")
    kept = []
    seen = 0
    for part in store.scan("spans", window):
        seen += part.num_rows
        digits = pc.utf8_slice_codeunits(part["trace_id"], -_DIGITS)
        kept.append(part.filter(pc.less(digits, limit)))
    spans = pa.Table.from_batches(kept, SIGNALS["spans"])
    if not spans.num_rows:  # ids that do not end in hex digits cannot be sampled by them
        spans = store.read("spans", window).slice(0, most_spans)
    note = f"spans: {seen - spans.num_rows:,} of {seen:,} left out to bound memory, by whole traces"
    return Batch(tables | {"spans": spans}), (note,)
