"""Messages that span links name: who sent each, maybe in another trace, and when the sending ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .ids import keys_of_named

Ints = np.ndarray
# When a message was sent that no recorded span tells of.
UNKNOWN = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Linked:
    """Spans that others link, a value per link: the key of the span that links and of the span that is linked."""

    by: Ints
    key: Ints

    @classmethod
    def of(cls, batch: pa.RecordBatch, are_ids_hex: bool) -> tuple[Linked, Ints]:
        """Return the distinct links of spans, but those to their parents, and how many each span has."""
        links = batch.column("links")
        entries = links.flatten()
        if not len(entries):
            return cls(np.empty(0, np.uint64), np.empty(0, np.uint64)), np.zeros(len(batch), np.int32)
        ids = {"trace": entries.field("trace_id"), "span": entries.field("span_id")}
        named = pa.table({"row": pc.list_parent_indices(links), **ids})
        named = named.group_by(["row", "trace", "span"]).aggregate([])
        own = batch.select(["trace_id", "span_id", "parent_span_id"]).take(named.column("row").combine_chunks())
        in_trace = pc.equal(named.column("trace"), own.column("trace_id"))
        is_parent = pc.and_kleene(in_trace, pc.equal(named.column("span"), own.column("parent_span_id")))
        is_other = pc.invert(pc.fill_null(is_parent, False))
        named, own = named.filter(is_other).combine_chunks(), own.filter(is_other)
        counts = np.bincount(named.column("row").to_numpy(), minlength=len(batch)).astype(np.int32)
        by = keys_of_named(own.column("trace_id"), own.column("span_id"), are_ids_hex)
        return cls(by, keys_of_named(named.column("trace"), named.column("span"), are_ids_hex)), counts

    @classmethod
    def together(cls, parts: Iterable[Linked]) -> Linked:
        """Return the links of all parts."""
        pairs = [(np.empty(0, np.uint64), np.empty(0, np.uint64)), *((part.by, part.key) for part in parts)]
        return cls(*(np.concatenate(column) for column in zip(*pairs, strict=True)))

    def sent(self, spans: Iterable[tuple[Ints, Ints, Ints]]) -> Sent:
        """Return when the linked messages were sent, as spans tell that are given in parts as key, start, duration."""
        parts: list[tuple[Ints, ...]] = [(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64))]
        for key, *times in spans if len(self.key) else ():
            is_linked = np.isin(key, self.key)
            parts.append((key[is_linked], *(column[is_linked] for column in times)))
        key, start, duration = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.lexsort((duration, start, key))
        # Of copies the first stays, as everywhere.
        known, first = np.unique(key[order], return_index=True)
        ended = np.append((start + duration)[order][first], UNKNOWN)
        # An export that was retried links once more what it linked.
        by, linked = np.unique(np.column_stack([self.by, self.key]), axis=0).T
        at = np.minimum(np.searchsorted(known, linked), max(0, len(known) - 1))
        sent_ns = ended[np.where(known[at] == linked, at, -1)] if len(known) else np.full(len(linked), UNKNOWN)
        order = np.lexsort((sent_ns, by))
        return Sent(by[order], sent_ns[order])


@dataclass(frozen=True, slots=True)
class Sent:
    """The ends of sending of linked messages, in order of the key of the span that links them, the unknown first."""

    by: Ints
    end_ns: Ints

    def first(self, by: Ints) -> Ints:
        """Return the place of the first message that each span links, given the keys of spans that do."""
        places: Ints = np.searchsorted(self.by, by)
        return places
