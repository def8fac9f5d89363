"""Spans as numbers: ids as 64-bit integers and all that repeats as one code, so that many spans fit into memory."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.schema import SPANS
from .operations import OTHER

# The columns of a span that linking reads; the rest is never loaded.
COLUMNS = [
    "trace_id",
    "span_id",
    "parent_span_id",
    "name",
    "kind",
    "status",
    "start_ns",
    "duration_ns",
    "adjusted_milli",
    "service",
    "service_namespace",
    "service_version",
    "environment",
    "cluster",
    "pod",
    "instance",
    "node",
    "peer_service",
    "peer_address",
    "db_system",
    "db_name",
    "http_status",
    "error_type",
    "messaging_system",
    "messaging_destination",
    "messaging_operation",
    "links",
]
_IDS = ("trace_id", "span_id", "parent_span_id")
_NUMBERS = ("start_ns", "duration_ns", "adjusted_milli")
# What a service, an instrumentation or an error repeats from span to span.
PROFILE = [name for name in COLUMNS if name not in (*_IDS, *_NUMBERS, "links")]
# Of the error's type only its presence matters, and whether it tells of a timeout.
_TIMEOUT = "(?i)time.?d?.?out|deadline"
TEXTS = [name for name in PROFILE if SPANS.field(name).type == pa.string() and name != "error_type"]
# Operations that carry ids are as many as the spans. The names that an input brings first are told apart.
MAX_NAMES = 100_000

_NOTHING = np.empty(0, np.int64)
_FACTORS = np.random.default_rng(0).integers(1, 2**62, len(PROFILE)) * 2 + 1


class OpaqueIds(ValueError):
    """Ids that are not all hex of one length, and so cannot be told apart as integers."""


class Profiles:
    """The distinct combinations of the `PROFILE` columns, numbered in the order of their first appearance."""

    def __init__(self) -> None:
        self._texts: dict[str, dict[str | None, int]] = {name: {None: 0} for name in TEXTS}
        self._rows = np.empty((0, len(PROFILE)), np.int64)
        self._known: dict[bytes, int] = {}
        self._keys, self._by_key = np.empty(0, np.int64), np.empty(0, np.int64)
        self.spans = np.empty(0, np.int64)

    def encode(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return the profile of each span of ``batch``, int32."""
        columns = {name: column for name in PROFILE if (column := _coded(name, batch.column(name))) is not None}
        inverse, first = distinct_rows([codes for codes, _ in columns.values()], len(batch))
        rows = np.zeros((len(first), len(PROFILE)), np.int64)
        for name, (codes, texts) in columns.items():
            found = codes[first]
            rows[:, PROFILE.index(name)] = found if texts is None else self._known_texts(name, texts)[found]
        # What a batch tells apart may be one text here: operations beyond the limit.
        numbers = self._numbers(rows)
        self.spans += np.bincount(numbers, np.bincount(inverse), len(self.spans)).astype(np.int64)
        encoded: np.ndarray = numbers.astype(np.int32)[inverse]
        return encoded

    def table(self) -> pa.Table:
        """Return the combinations as a table of what linking reads of them, ``profile`` and ``spans``, by number."""
        columns: dict[str, Any] = {}
        for at, name in enumerate(PROFILE):
            codes = self._rows[:, at] - 1
            if name == "error_type":
                columns["has_error_type"] = codes > 0
                columns["has_timeout_type"] = codes > 1
            elif name in self._texts:
                texts = [text for text in self._texts[name] if text is not None]
                columns[name] = pa.array(texts, pa.string()).take(pa.array(codes, mask=codes < 0))
            else:
                columns[name] = pa.array(codes, mask=codes < 0).cast(SPANS.field(name).type)
        return pa.table({**columns, "profile": np.arange(len(self._rows), dtype=np.int32), "spans": self.spans})

    def _known_texts(self, name: str, texts: pa.Array) -> np.ndarray:
        """Return the code of each text, and of null, 0, after them."""
        known = self._texts[name]
        codes = []
        for text in texts.to_pylist():
            code = known.get(text)
            if code is None:
                if name == "name" and len(known) > MAX_NAMES:
                    text = OTHER
                code = known.setdefault(text, len(known))
            codes.append(code)
        return np.array([*codes, 0], np.int64)

    def _numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of each of distinct combinations, new ones added."""
        keys = (rows * _FACTORS).sum(axis=1)
        at = np.minimum(np.searchsorted(self._keys, keys), max(0, len(self._keys) - 1))
        numbers = self._by_key[at] if len(self._keys) else np.full(len(rows), -1)
        unseen = np.flatnonzero((self._rows[numbers] != rows).any(axis=1)) if len(self._keys) else np.arange(len(rows))
        if not len(unseen):
            return numbers
        # The key is a shortcut that may clash; the whole combination decides.
        numbers[unseen] = [self._known.setdefault(bytes(row), len(self._known)) for row in rows[unseen]]
        new = unseen[numbers[unseen] >= len(self._rows)]
        self._rows = np.concatenate([self._rows, rows[new]])
        self.spans = np.concatenate([self.spans, np.zeros(len(new), np.int64)])
        all_keys = (self._rows * _FACTORS).sum(axis=1)
        self._by_key = np.argsort(all_keys)
        self._keys = all_keys[self._by_key]
        return numbers


def _coded(name: str, column: pa.Array) -> tuple[np.ndarray, pa.Array | None] | None:
    """Return a code per row and the texts that the codes stand for, null being the code after all; None: all are null.

    A number is its own code, plus one; null is 0.
    """
    if column.null_count == len(column):
        return None
    if name == "error_type":
        return _error_codes(column), None
    if name not in TEXTS:
        return column.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False) + 1, None
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    indices = column.indices.fill_null(len(column.dictionary)) if column.null_count else column.indices
    return indices.to_numpy(zero_copy_only=False), column.dictionary


def _error_codes(column: pa.Array) -> np.ndarray:
    """Return 0 for no error type, 2 for one, 3 for one that tells of a timeout."""
    codes = np.zeros(len(column), np.int32)
    given = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    types = column.drop_null().dictionary_encode()
    is_timeout = pc.match_substring_regex(types.dictionary, _TIMEOUT).to_numpy(zero_copy_only=False)
    codes[given] = 2 + is_timeout[types.indices.to_numpy()]
    return codes


def _linked(batch: pa.RecordBatch) -> np.ndarray:
    """Return how many other spans each span links, int32; its parent is not one of them."""
    links = batch.column("links")
    entries = links.flatten()
    if not len(entries):
        return np.zeros(len(batch), np.int32)
    row = pc.list_parent_indices(links)
    named = pa.table({"row": row, "trace": entries.field("trace_id"), "span": entries.field("span_id")})
    named = named.group_by(["row", "trace", "span"]).aggregate([])
    own = batch.select(["trace_id", "parent_span_id"]).take(named.column("row").combine_chunks())
    in_trace = pc.equal(named.column("trace"), own.column("trace_id"))
    is_parent = pc.and_kleene(in_trace, pc.equal(named.column("span"), own.column("parent_span_id")))
    others = named.filter(pc.invert(pc.fill_null(is_parent, False)))
    counts: np.ndarray = np.bincount(others.column("row").to_numpy(), minlength=len(batch)).astype(np.int32)
    return counts


def distinct_rows(columns: list[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row of non-negative codes the number of its combination, and a row of each combination."""
    key, radix = np.zeros(size, np.int64), 1
    for column in columns:
        values = int(column.max(initial=0)) + 1
        if radix * values >= 2**62:
            key, distinct = pd.factorize(key)
            radix = len(distinct)
        key *= values
        key += column
        radix *= values
    inverse, distinct = pd.factorize(key)
    example = np.empty(len(distinct), np.int64)
    example[inverse] = np.arange(size)
    return inverse, example


@dataclass(frozen=True, slots=True)
class Compact:
    """Spans as arrays, a value per span; ids are numbers that are equal where the given ids are (``trace`` and
    ``trace_rest`` together). ``linked`` is how many spans it links beside its parent."""

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

    def __len__(self) -> int:
        return len(self.trace)

    def take(self, at: np.ndarray) -> Compact:
        """Return the spans at positions."""
        return Compact(*(getattr(self, field.name)[at] for field in fields(self)))


def trace_keys(ids: pa.Array, are_hex: bool) -> np.ndarray:
    """Return 64 bits of each trace id, uint64, not always distinct; OpaqueIds when it is not hex of one length."""
    if are_hex:
        return _integers(ids)[:, -1]
    hashes: np.ndarray = pd.util.hash_array(np.asarray(ids.to_pylist(), object), categorize=False)
    return hashes


def packed(batch: pa.RecordBatch, are_ids_hex: bool) -> pa.RecordBatch:
    """Return ids and numbers of ``batch`` with the trace's key; ids as integers where they are hex."""
    trace, span, parent = (batch.column(name) for name in _IDS)
    columns = {"trace_key": pa.array(trace_keys(trace, are_ids_hex))}
    if are_ids_hex:
        words = _integers(trace)
        # A trace id of 64 bits has one word; a mixture of both lengths never gets here.
        columns["trace_rest"] = pa.array(words[:, 0] if words.shape[1] == 2 else np.zeros(len(batch), np.uint64))
        has_parent = parent.is_valid().to_numpy(zero_copy_only=False)
        parents = np.zeros(len(batch), np.uint64)
        parents[has_parent] = _integers(parent.drop_null(), words=1)[:, 0]
        columns |= {
            "span_id": pa.array(_integers(span, words=1)[:, 0]),
            "parent_span_id": pa.array(parents, mask=~has_parent),
        }
    else:
        columns |= {"trace_id": trace, "span_id": span, "parent_span_id": parent}
    columns |= {name: batch.column(name) for name in _NUMBERS}
    columns["linked"] = pa.array(_linked(batch))
    return pa.record_batch(columns)


def with_profile(rows: pa.RecordBatch, profile: np.ndarray) -> pa.RecordBatch:
    """Return `packed` spans with the number of the profile of each."""
    return rows.append_column("profile", pa.array(profile))


def unpacked(rows: pa.Table) -> Compact:
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
    return Compact(trace, rest, span, parent, has_parent, start, duration, adjusted, profile, linked)


def compact(spans: pa.Table) -> tuple[Compact, pa.Table]:
    """Return a table of spans (columns `COLUMNS`) of whole traces as arrays, and its `Profiles.table`."""
    batches = spans.select(COLUMNS).combine_chunks().to_batches() or [_no_spans()]
    try:
        return _compact(batches, are_ids_hex=True)
    except OpaqueIds:
        return _compact(batches, are_ids_hex=False)


def _compact(batches: list[pa.RecordBatch], are_ids_hex: bool) -> tuple[Compact, pa.Table]:
    profiles = Profiles()
    rows = [with_profile(packed(batch, are_ids_hex), profiles.encode(batch)) for batch in batches]
    return unpacked(pa.Table.from_batches(rows)), profiles.table()


def _no_spans() -> pa.RecordBatch:
    schema = pa.schema([SPANS.field(name) for name in COLUMNS])
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _ordered_codes(texts: np.ndarray) -> np.ndarray:
    """Return numbers in the order of the texts."""
    codes: np.ndarray = pd.factorize(texts, sort=True)[0].astype(np.uint64)
    return codes


def _integers(ids: pa.Array, words: int = 0) -> np.ndarray:
    """Return hex ids as rows of 64-bit words, shape (n, 1 or 2)."""
    if not len(ids):
        return np.empty((0, words or 2), np.uint64)
    _, offsets, data = ids.buffers()
    ends = np.frombuffer(offsets, np.int32, len(ids) + 1, ids.offset * 4)
    width = int(ends[1] - ends[0])
    if width not in ((16, 32) if not words else (16 * words,)) or (np.diff(ends) != width).any():
        raise OpaqueIds(f"expected hex of {16 * words or '16 or 32'} digits, as in {ids[0].as_py()!r}")
    try:
        raw = binascii.unhexlify(memoryview(data)[int(ends[0]) : int(ends[-1])])
    except binascii.Error as error:
        raise OpaqueIds(str(error)) from error
    return np.frombuffer(raw, ">u8").astype(np.uint64).reshape(len(ids), width // 16)
