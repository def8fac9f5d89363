"""One trace of a store: found by its id or the beginning of it, and laid out as a tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import SourceError

from ..tracer.store import Store

COLUMNS = [
    *("trace_id", "span_id", "parent_span_id", "name", "kind", "status", "status_message"),
    *("start_ns", "duration_ns", "service", "pod", "peer_service"),
]
_SHORT, _LONG = 16, 32
_HEX = re.compile("[0-9a-f]+")
_SERVER, _CLIENT, _ERROR = 2, 3, 2
_NAMED = 10


def read_trace(store: Store, given: str) -> pa.Table:
    """Return the spans of the trace whose id is ``given`` or alone begins with it, columns `COLUMNS`.

    The 64-bit form of an id stands for the 128-bit one with the same low half, and spans of both are one trace.

    Raises
    ------
    SourceError
        No trace, or several, begin with ``given``; of these ten are named.
    """
    wanted = given.strip()
    if _HEX.fullmatch(wanted.lower()):
        wanted = wanted.lower()
    if not wanted:
        raise SourceError("a trace id, or the beginning of one, is needed")
    found: set[str] = set()
    for batch in store.scan("spans", columns=["trace_id"]):
        ids = pc.unique(batch["trace_id"])
        found.update(ids.filter(_may_match(ids, wanted)).to_pylist())
    traces = sorted(_traces(found), key=lambda trace: max(trace, key=len))
    exact = [trace for trace in traces if any(_are_one(each, wanted) for each in trace)]
    if wanted in found:
        exact = [trace for trace in traces if wanted in trace]
    matching = exact or [trace for trace in traces if any(_begins(each, wanted) for each in trace)]
    if not matching:
        raise SourceError(f"{store}: no trace begins with {wanted!r}")
    if len(matching) > 1:
        named = ", ".join(max(trace, key=len) for trace in matching[:_NAMED])
        more = f" and {len(matching) - _NAMED:,} more" if len(matching) > _NAMED else ""
        raise SourceError(f"{len(matching):,} traces match {wanted!r}: {named}{more}; give more of the id")
    # The twins of an id may begin otherwise.
    low = _low(min(matching[0], key=len))
    spans = store.read("spans", columns=COLUMNS, filter=pc.ends_with(pc.field("trace_id"), low))
    (ours,) = [trace for trace in _traces(set(spans["trace_id"].to_pylist())) if trace & matching[0]]
    return spans.filter(pc.is_in(spans["trace_id"], pa.array(sorted(ours))))


def _may_match(ids: pa.Array, wanted: str) -> pa.Array:
    is_long = pc.equal(pc.utf8_length(ids), _LONG)
    low = pc.if_else(is_long, pc.utf8_slice_codeunits(ids, _SHORT), ids)
    begins = pc.or_(pc.starts_with(ids, wanted), pc.starts_with(low, wanted))
    return pc.or_(begins, pc.equal(low, _low(wanted)))


def _begins(trace_id: str, wanted: str) -> bool:
    return trace_id.startswith(wanted) or _low(trace_id).startswith(wanted)


def _low(trace_id: str) -> str:
    """Return the 64-bit form of a 128-bit id; other ids as they are."""
    return trace_id[_SHORT:] if len(trace_id) == _LONG and _HEX.fullmatch(trace_id) else trace_id


def _is_short(trace_id: str) -> bool:
    return trace_id in (_low(trace_id), _low(trace_id).rjust(_LONG, "0"))


def _are_one(one: str, other: str) -> bool:
    return one == other or (_low(one) == _low(other) and (_is_short(one) or _is_short(other)))


def _traces(ids: Iterable[str]) -> Iterator[set[str]]:
    """Yield the ids that name one trace: a 64-bit id joins the only 128-bit one that ends with it."""
    by_low: dict[str, set[str]] = {}
    for each in ids:
        by_low.setdefault(_low(each), set()).add(each)
    for same in by_low.values():
        whole = [each for each in same if not _is_short(each)]
        if len(whole) <= 1:
            yield same
        else:
            yield from ({each} for each in whole)
            if rest := same - set(whole):
                yield rest


def laid_out(spans: pa.Table) -> pd.DataFrame:
    """Return a row a span, depth first, children by start.

    Columns: ``number`` and ``parent`` (position of the parent's row; -1 for a root), ``depth``, ``span_id``,
    ``parent_span_id``, ``service``, ``operation``, ``kind``, ``start_ns``, ``duration_ns``, ``is_error``, ``message``,
    ``is_critical`` (on the path whose spans decide when the longest root ends), ``early_ns`` (how much a span begins
    before its parent, which only clocks that disagree can do; else 0), ``is_orphan`` (its parent was not recorded).

    Notes
    -----
    Equal rows are one span. A server that shares its client's id is its child. Spans whose parents run in a circle are
    roots.
    """
    frame = spans.select(COLUMNS).to_pandas().drop_duplicates(ignore_index=True)
    frame = frame.sort_values(["start_ns", "kind", "span_id"], ascending=[True, False, True], ignore_index=True)
    parent = _parents(frame)
    children: dict[int, list[int]] = {}
    for row, above in enumerate(parent):
        children.setdefault(above, []).append(row)
    order: list[tuple[int, int]] = []
    seen = [False] * len(parent)
    for root in [*children.get(-1, []), *range(len(parent))]:
        pending = [] if seen[root] else [(root, 0)]
        if pending and parent[root] >= 0:
            parent[root] = -1
        while pending:
            row, depth = pending.pop()
            if not seen[row]:
                seen[row] = True
                order.append((row, depth))
                pending += [(child, depth + 1) for child in reversed(children.get(row, []))]
    rows = [row for row, _ in order]
    place = {row: at for at, row in enumerate(rows)}
    placed = [place.get(parent[row], -1) for row in rows]
    laid = frame.iloc[rows].reset_index(drop=True).rename(columns={"name": "operation", "status_message": "message"})
    laid["number"], laid["parent"], laid["depth"] = range(len(laid)), placed, [depth for _, depth in order]
    laid["is_error"] = laid["status"] == _ERROR
    laid["is_orphan"] = [above < 0 and isinstance(i, str) for above, i in zip(placed, laid.parent_span_id, strict=True)]
    starts = laid["start_ns"].tolist()
    laid["early_ns"] = [
        max(0, starts[above] - start) if above >= 0 else 0 for start, above in zip(starts, placed, strict=True)
    ]
    critical = _critical(starts, laid["duration_ns"].tolist(), placed)
    laid["is_critical"] = [row in critical for row in range(len(laid))]
    return laid.drop(columns=["status"])


def _parents(frame: pd.DataFrame) -> list[int]:
    """Return the row of each span's parent, -1 where it has none or it was not recorded."""
    by_id: dict[str, list[int]] = {}
    for row, span_id in enumerate(frame["span_id"]):
        by_id.setdefault(span_id, []).append(row)
    kinds = frame["kind"].tolist()
    found = []
    for row, (span_id, parent_id) in enumerate(zip(frame["span_id"], frame["parent_span_id"], strict=True)):
        twins = [other for other in by_id[span_id] if kinds[other] == _CLIENT and kinds[row] == _SERVER]
        above = twins or [other for other in by_id.get(parent_id, []) if other != row and span_id != parent_id]
        # What the callee calls hangs below it, not below the client span that shares its id.
        found.append(next((other for other in above if twins or kinds[other] == _SERVER), above[0] if above else -1))
    return found


def _critical(start: list[int], duration: list[int], parent: list[int]) -> set[int]:
    """Return the rows on the critical path: from the end backwards, the child that ended last was waited for."""
    if not start:
        return set()
    children: dict[int, list[int]] = {}
    for row, above in enumerate(parent):
        children.setdefault(above, []).append(row)
    end = [begin + length for begin, length in zip(start, duration, strict=True)]
    root = max(children[-1], key=lambda row: (duration[row], -row))
    found = {root}
    pending = [(root, end[root])]
    while pending:
        row, until = pending.pop()
        # A child that outlives its parent was not waited for.
        for child in sorted(children.get(row, []), key=lambda c: (end[c], c), reverse=True):
            if end[child] <= until and end[child] > start[row]:
                found.add(child)
                pending.append((child, end[child]))
                until = start[child]
    return found
