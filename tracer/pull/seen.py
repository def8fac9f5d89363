"""What is stored already: overlapping pulls and restarts bring the same rows again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..batch import Batch
from ..schema import TIME_COLUMN
from ..window import Window

if TYPE_CHECKING:
    from ..store import Store

Keys = dict[str, tuple[np.ndarray, np.ndarray]]
_SIGNALS: Final = ("spans", "points", "series", "events")
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_NO_TIME: Final = np.iinfo(np.int64).max
_PRIMED_COLUMNS: Final = {
    "spans": ["trace_id", "span_id", "kind", "start_ns"],
    "points": ["series_id", "time_ns"],
    "series": ["series_id"],
    "events": ["time_ns", "reason", "attributes"],
}


class Seen:
    """Keys of 64 bits of the rows known, with their times: a span's ids and kind, a point's series and time.

    Two keys of ten million agree by chance once in 370,000 pulls; then one row is lost.
    """

    def __init__(self) -> None:
        self._known: Keys = {signal: (np.empty(0, np.uint64), np.empty(0, np.int64)) for signal in _SIGNALS}

    def prime(self, store: Store, source: str, window: Window) -> int | None:
        """Learn what ``store`` holds of ``source`` in ``window``; return the latest time of it, None if nothing."""
        latest: int | None = None
        is_own = pc.field("source") == source
        ids = store.read("series", columns=["series_id"], filter=is_own)["series_id"].combine_chunks()
        for signal in _SIGNALS:
            condition = pc.field("series_id").isin(ids) if signal == "points" else is_own
            table = store.read(signal, window, columns=_PRIMED_COLUMNS[signal], filter=condition)
            if not table.num_rows:
                continue
            self.add({signal: _keys(signal, table)})
            if signal in TIME_COLUMN:
                last = pc.max(table[TIME_COLUMN[signal]]).as_py()
                latest = last if latest is None else max(latest, last)
        return latest

    def new(self, batch: Batch) -> tuple[Batch, Keys]:
        """Return the rows that are not known, each once, and their keys, which `add` takes once they are stored."""
        tables: dict[str, pa.Table] = {}
        fresh: Keys = {}
        for signal, table in batch.tables.items():
            if signal not in _SIGNALS or not table.num_rows:
                tables[signal] = table
                continue
            keys, times = _keys(signal, table)
            _, first = np.unique(keys, return_index=True)
            is_new = np.zeros(len(keys), bool)
            is_new[first] = True
            is_new &= ~np.isin(keys, self._known[signal][0])
            kept = table if is_new.all() else table.filter(pa.array(is_new))
            tables[signal], fresh[signal] = kept, (keys[is_new], times[is_new])
        # Of a batch that was cut, the first piece carries the tally of all.
        batch.tally.accepted = Counter({signal: len(table) for signal, table in tables.items() if len(table)})
        return Batch(tables, batch.tally), fresh

    def add(self, keys: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Take rows as known."""
        for signal, (new, times) in keys.items():
            known = self._known[signal]
            self._known[signal] = (np.r_[known[0], new], np.r_[known[1], times])

    def forget(self, before_ns: int) -> None:
        """Let go of rows older than a time; series stay."""
        for signal, (keys, times) in self._known.items():
            kept = times >= before_ns
            self._known[signal] = (keys[kept], times[kept])

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._known.values())


def _keys(signal: str, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    if signal == "series":
        return _hashes(table["series_id"]), np.full(table.num_rows, _NO_TIME)
    times = table[TIME_COLUMN[signal]].to_numpy()
    if signal == "points":
        return _hashes(table["series_id"]) ^ (times.astype(np.uint64) * _ODD), times
    if signal == "spans":
        kinds = table["kind"].to_numpy().astype(np.uint64)
        return (_hashes(table["trace_id"]) * _ODD) ^ _hashes(table["span_id"]) ^ kinds, times
    texts = [_event_text(*row) for row in zip(*(table[c].to_pylist() for c in _PRIMED_COLUMNS["events"]), strict=True)]
    return _hashes(pa.chunked_array([pa.array(texts, pa.string())])), times


def _event_text(time_ns: int, reason: str | None, attributes: list[tuple[str, str]] | None) -> str:
    given = dict(attributes or ())
    told: list[Any] = [time_ns, reason, given.get("fingerprint"), given.get("status")]
    return orjson.dumps(told).decode()


def _hashes(texts: pa.ChunkedArray) -> np.ndarray:
    """Return a hash of each text that is the same in every process."""
    encoded = texts.combine_chunks().dictionary_encode()
    distinct = pd.util.hash_array(encoded.dictionary.to_numpy(zero_copy_only=False).astype(object), categorize=False)
    found: np.ndarray = distinct[encoded.indices.to_numpy(zero_copy_only=False)]
    return found
