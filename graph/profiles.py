"""What spans repeat: the combinations of service, operation, peer and outcome, numbered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.schema import SPANS
from .operations import OTHER

# What a service, an instrumentation or an error repeats from span to span.
PROFILE = [
    "name",
    "kind",
    "status",
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
]
# Of the error's type only its presence matters, and whether it tells of a timeout.
_TIMEOUT = "(?i)time.?d?.?out|deadline"
TEXTS = [name for name in PROFILE if SPANS.field(name).type == pa.string() and name != "error_type"]
# Operations that carry ids are as many as the spans. The names that an input brings first are told apart.
MAX_NAMES = 100_000

_FACTORS = np.random.default_rng(0).integers(1, 2**62, len(PROFILE)) * 2 + 1


class Profiles:
    """The distinct combinations of the `PROFILE` columns, numbered in the order of their first appearance."""

    def __init__(self) -> None:
        self._texts: dict[str, pa.Array] = {name: pa.array([], pa.string()) for name in TEXTS}
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

    def add(self, other: Profiles) -> None:
        """Take in the combinations of others, numbered elsewhere, with their spans."""
        rows = other._rows.copy()
        for name, texts in other._texts.items():
            at = PROFILE.index(name)
            rows[:, at] = self._known_texts(name, texts)[rows[:, at] - 1]
        numbers = self._numbers(rows)
        self.spans += np.bincount(numbers, other.spans, len(self.spans)).astype(np.int64)

    def table(self) -> pa.Table:
        """Return the combinations as a table of what linking reads of them, ``profile`` and ``spans``, by number."""
        columns: dict[str, Any] = {}
        for at, name in enumerate(PROFILE):
            codes = self._rows[:, at] - 1
            if name == "error_type":
                columns["has_error_type"] = codes > 0
                columns["has_timeout_type"] = codes > 1
            elif name in self._texts:
                columns[name] = self._texts[name].take(pa.array(codes, mask=codes < 0))
            else:
                columns[name] = pa.array(codes, mask=codes < 0).cast(SPANS.field(name).type)
        return pa.table({**columns, "profile": np.arange(len(self._rows), dtype=np.int32), "spans": self.spans})

    def _known_texts(self, name: str, texts: pa.Array) -> np.ndarray:
        """Return the code of each text, 0 for null, and of null once more after them."""
        known = self._texts[name]
        at = pc.index_in(texts, known)
        new = pc.unique(texts.filter(pc.is_null(at))).drop_null()
        if len(new):
            if name == "name" and len(known) + len(new) > MAX_NAMES:
                new = pa.concat_arrays([new[: max(0, MAX_NAMES - len(known))], pa.array([OTHER])])
            known = self._texts[name] = pa.concat_arrays([known, new])
            at = pc.index_in(texts, known)
            at = pc.if_else(pc.and_(pc.is_null(at), texts.is_valid()), pc.index(known, OTHER), at)
        codes: np.ndarray = np.append(at.fill_null(-1).to_numpy() + 1, 0)
        return codes

    def _numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of each of distinct combinations, new ones added."""
        keys = (rows * _FACTORS).sum(axis=1)
        at = np.minimum(np.searchsorted(self._keys, keys), max(0, len(self._keys) - 1))
        numbers = self._by_key[at] if len(self._keys) else np.full(len(rows), -1)
        unseen = np.flatnonzero((self._rows[numbers] != rows).any(axis=1)) if len(self._keys) else np.arange(len(rows))
        if not len(unseen):
            return numbers
        # The key is a shortcut that may clash; the whole combination decides.
        whole = rows[unseen].view(f"V{rows.itemsize * rows.shape[1]}").ravel().tolist()
        numbers[unseen] = [self._known.setdefault(row, len(self._known)) for row in whole]
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


def distinct_rows(columns: list[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row of non-negative codes the number of its combination, and a row of each combination."""
    key, radix = np.zeros(size, np.int64), 1
    for column in columns:
        values = int(column.max(initial=0)) + 1
        if values == 1:
            continue
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
