"""Spans as numbers: ids as 64-bit integers and all that repeats as one code, so that many spans fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from ..tracer.schema import SPANS
from .ids import OpaqueIds, hashes, integers, span_keys
from .messages import Linked, Sent
from .profiles import PROFILE, Profiles

if TYPE_CHECKING:
    from .rules import Rules

_IDS = ["trace_id", "span_id", "parent_span_id"]
_NUMBERS = ["start_ns", "duration_ns", "adjusted_milli"]
# The columns of a span that linking reads; the rest is never loaded.
COLUMNS = [*_IDS, *_NUMBERS, *PROFILE, "links"]


@dataclass(frozen=True, slots=True)
class Compact:
    """Spans as arrays, a value per span; ids are numbers that are equal where the given ids are (``trace`` and
    ``trace_rest`` together). ``linked`` is how many spans it links beside its parent; from the place ``message`` on,
    ``sent_ns`` tells when each of these was sent (`hypocenter.graph.messages.Sent`)."""

    trace: np.ndarray
    trace_rest: np.ndarray
    span: np.ndarray
    parent: np.ndarray
    has_parent_id: np.ndarray
    start_ns: np.ndarray
    duration_ns: np.ndarray
    adjusted_milli: np.ndarray
    profile: np.ndarray
    linked: np.ndarray
    message: np.ndarray
    sent_ns: np.ndarray

    def __len__(self) -> int:
        return len(self.trace)

    def take(self, at: np.ndarray) -> Compact:
        """Return the spans at positions."""
        columns = {field.name: getattr(self, field.name)[at] for field in fields(self)[:-1]}
        return Compact(**columns, sent_ns=self.sent_ns)


def packed(batch: pa.RecordBatch, are_ids_hex: bool) -> tuple[pa.RecordBatch, Linked]:
    """Return ids and numbers of ``batch`` with the trace's key, ids as integers where they are hex; and its links."""
    trace, span, parent = (batch.column(name) for name in _IDS)
    if are_ids_hex:
        words = integers(trace)
        columns = {"trace_key": pa.array(words[:, -1])}
        # A trace id of 64 bits has one word; a mixture of both lengths never gets here.
        columns["trace_rest"] = pa.array(words[:, 0] if words.shape[1] == 2 else np.zeros(len(batch), np.uint64))
        has_parent = parent.is_valid().to_numpy(zero_copy_only=False)
        parents = np.zeros(len(batch), np.uint64)
        parents[has_parent] = integers(parent.drop_null(), words=1)[:, 0]
        columns |= {
            "span_id": pa.array(integers(span, words=1)[:, 0]),
            "parent_span_id": pa.array(parents, mask=~has_parent),
        }
    else:
        columns = {"trace_key": pa.array(hashes(trace)), "trace_id": trace}
        columns |= {"span_id": span, "parent_span_id": parent}
    columns |= {name: batch.column(name) for name in _NUMBERS}
    linked, counts = Linked.of(batch, are_ids_hex)
    columns["linked"] = pa.array(counts)
    return pa.record_batch(columns), linked


def with_profile(rows: pa.RecordBatch, profile: np.ndarray) -> pa.RecordBatch:
    """Return `packed` spans with the number of the profile of each."""
    return rows.append_column("profile", pa.array(profile))


def senders(rows: pa.RecordBatch, is_sender: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return key, start and duration of the `packed` spans that send, told by profile."""
    rows = rows.filter(pa.array(is_sender[rows.column("profile").to_numpy()]))
    return _keys(rows), rows.column("start_ns").to_numpy(), rows.column("duration_ns").to_numpy()


def _keys(rows: pa.RecordBatch | pa.Table) -> np.ndarray:
    trace = rows.column("trace_key").to_numpy()
    if "trace_id" in rows.schema.names:
        return span_keys(trace, np.uint64(0), hashes(rows.column("span_id")))
    return span_keys(trace, *(rows.column(name).to_numpy() for name in ("trace_rest", "span_id")))


def unpacked(rows: pa.Table, sent: Sent) -> Compact:
    """Return `packed` spans of whole traces, with profiles, as arrays."""
    parent_ids = rows.column("parent_span_id")
    has_parent = parent_ids.is_valid().to_numpy()
    if "trace_id" in rows.column_names:
        trace = _ordered_codes(rows.column("trace_id").to_numpy())
        rest = np.zeros_like(trace)
        both = np.concatenate([rows.column("span_id").to_numpy(), parent_ids.fill_null("").to_numpy()])
        span, parent = np.split(_ordered_codes(both), 2)
    else:
        trace, rest = rows.column("trace_key").to_numpy(), rows.column("trace_rest").to_numpy()
        span, parent = rows.column("span_id").to_numpy(), parent_ids.fill_null(0).to_numpy()
    start, duration, adjusted = (rows.column(name).to_numpy() for name in _NUMBERS)
    profile, linked = rows.column("profile").to_numpy(), rows.column("linked").to_numpy()
    message, linking = np.zeros(len(rows), np.int64), np.flatnonzero(linked)
    message[linking] = sent.first(_keys(rows.take(pa.array(linking))))
    columns = (trace, rest, span, parent, has_parent, start, duration, adjusted, profile, linked, message)
    return Compact(*columns, sent.end_ns)


def compact(spans: pa.Table, rules_of: Callable[[pa.Table], Rules]) -> tuple[Compact, Rules]:
    """Return a table of spans (columns `COLUMNS`) of whole traces as arrays, and the rules for its `Profiles.table`."""
    batches = spans.select(COLUMNS).combine_chunks().to_batches() or [_no_spans()]
    try:
        return _compact(batches, rules_of, are_ids_hex=True)
    except OpaqueIds:
        return _compact(batches, rules_of, are_ids_hex=False)


def _compact(
    batches: list[pa.RecordBatch], rules_of: Callable[[pa.Table], Rules], are_ids_hex: bool
) -> tuple[Compact, Rules]:
    profiles = Profiles()
    parts = [packed(batch, are_ids_hex) for batch in batches]
    rows = [with_profile(part, profiles.encode(batch)) for (part, _), batch in zip(parts, batches, strict=True)]
    rules = rules_of(profiles.table())
    sent = Linked.together(linked for _, linked in parts).sent(senders(part, rules.is_sender) for part in rows)
    return unpacked(pa.Table.from_batches(rows), sent), rules


def _no_spans() -> pa.RecordBatch:
    schema = pa.schema([SPANS.field(name) for name in COLUMNS])
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _ordered_codes(texts: np.ndarray) -> np.ndarray:
    """Return numbers in the order of the texts."""
    codes: np.ndarray = pd.factorize(texts, sort=True)[0].astype(np.uint64)
    return codes
