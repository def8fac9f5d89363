"""The versions of objects in a store, put in order: what replaced what, what vanished, and which kinds are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..schema import OBJECTS
from ..window import Window

if TYPE_CHECKING:
    from ..store import Store

# Events that a collector writes about itself: at this time it listed all objects of a kind, or was refused them.
LISTED: Final = "ObjectsListed"
DENIED: Final = "ObjectsDenied"


@dataclass(frozen=True)
class Versions:
    """``table`` has the schema of objects, sorted by uid and time, every version with its end, unchanged ones merged.

    The first known version of an object begins at its creation: an object is taken to have always been as it was first
    seen. ``known`` are the kinds of which all objects are known, at least one was seen, or a list was complete;
    ``denied`` says by kind why it could not be read.
    """

    table: pa.Table
    known: frozenset[str] = frozenset()
    denied: Mapping[str, str] | None = None


def order(objects: pa.Table, collected: pa.Table | None = None) -> Versions:
    """Return rows of ``objects`` in order; ``collected`` are rows of ``events``, those of collectors are looked at.

    Rows may come twice and in any order: a collector that starts again writes every object anew. They are rows as they
    were collected: those of `Versions` no longer tell when an object was seen last, and a list after that would end it.
    """
    marks = _marks(collected)
    denied = dict(zip(marks.object_kind[marks.reason == DENIED], marks.message[marks.reason == DENIED], strict=True))
    listed = marks[marks.reason == LISTED]
    known = frozenset(objects["kind"].unique().to_pylist()) | frozenset(listed.object_kind)
    denied = {kind: why for kind, why in denied.items() if kind not in known}
    if not objects.num_rows:
        return Versions(OBJECTS.empty_table(), known, denied)
    table = objects.select(OBJECTS.names).sort_by([("uid", "ascending"), ("valid_from_ns", "ascending")])
    uid = table["uid"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    start = table["valid_from_ns"].to_numpy()
    gone = pc.fill_null(pc.equal(table["valid_to_ns"], table["valid_from_ns"]), False).to_numpy().astype(bool)
    same_object = np.r_[False, uid[1:] == uid[:-1]]
    content = _content(table)
    unchanged = same_object & np.r_[False, content[1:] == content[:-1]] & ~gone & ~np.r_[False, gone[:-1]]
    end = _ends(table, uid, start, listed)
    kept = np.flatnonzero(~unchanged)
    following = np.r_[kept[1:], len(uid)]
    last = following - 1  # the last row that says the same
    same_next = np.r_[uid[kept[1:]] == uid[kept[:-1]], False] if len(kept) else np.array([], bool)
    replaced = start[np.minimum(following, len(uid) - 1)]
    ends = np.where(same_next & ((end[last] < 0) | (end[last] > replaced)), replaced, end[last])
    begins = start[kept]
    created = pc.fill_null(table["created_ns"], 2**62).to_numpy()[kept]
    first = np.r_[True, uid[kept][1:] != uid[kept][:-1]] if len(kept) else np.array([], bool)
    begins = np.where(first, np.minimum(begins, created), begins)
    stays = ~gone[kept] & ((ends < 0) | (ends > begins))
    result = table.take(pa.array(kept[stays]))
    for name, values in (("valid_from_ns", begins[stays]), ("valid_to_ns", ends[stays])):
        at = OBJECTS.get_field_index(name)
        column = (
            pa.array(values, pa.int64(), mask=values < 0) if name == "valid_to_ns" else pa.array(values, pa.int64())
        )
        result = result.set_column(at, OBJECTS.field(at), column)
    return Versions(result, known, denied)


def read_versions(store: Store, window: Window) -> Versions:
    """Return the versions that were valid somewhere in ``window``; also what began before it."""
    early = Window(0, window.end_ns)
    reasons = pc.field("reason").isin([LISTED, DENIED])
    rows = store.read("objects", early)
    return within(order(rows, store.read("events", early, filter=reasons)), window)


def rows_around(store: Store, window: Window) -> pa.Table:
    """Return the rows as collected of which `order` makes what was valid in a window, the last before it included."""
    table = store.read("objects", Window(0, window.end_ns))
    uid = table["uid"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    start = table["valid_from_ns"].to_numpy()
    by_object = np.lexsort((start, uid))
    uid, is_early = uid[by_object], start[by_object] < window.start_ns
    is_replaced = np.r_[(uid[1:] == uid[:-1]) & is_early[1:], np.zeros(min(len(uid), 1), bool)]
    return table.take(pa.array(by_object[~is_replaced]))


def marks_before(store: Store, time_ns: int) -> pa.Table:
    """Return the events in which collectors told before a time which kinds they listed or were refused."""
    reasons = pc.field("reason").isin([LISTED, DENIED])
    return store.read("events", Window(0, time_ns), filter=reasons)


def within(versions: Versions, window: Window) -> Versions:
    """Return the versions that were valid somewhere in ``window``."""
    ends = pc.fill_null(versions.table["valid_to_ns"], 2**62)
    alive = pc.and_(pc.greater(ends, window.start_ns), pc.less(versions.table["valid_from_ns"], window.end_ns))
    return Versions(versions.table.filter(alive), versions.known, versions.denied)


def _content(table: pa.Table) -> np.ndarray:
    """Return a number a row, equal for rows of equal content; a Secret's writing counts as content."""
    is_secret = pc.equal(table["kind"], "Secret")
    parts = [
        table["spec_digest"],
        table["status"],
        pa.chunked_array([_label_text(table["labels"])]),
        pc.if_else(is_secret, table["resource_version"], None),
    ]
    frame = pd.DataFrame({str(i): part.to_pandas() for i, part in enumerate(parts)})
    return np.asarray(pd.util.hash_pandas_object(frame, index=False))


def _label_text(labels: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if m is None else orjson.dumps(m).decode() for m in labels.to_pylist()], pa.string())


def _ends(table: pa.Table, uid: np.ndarray, start: np.ndarray, listed: pd.DataFrame) -> np.ndarray:
    """Return when the object of each row was found missing or said to be gone, -1 while it is there."""
    stated = pc.fill_null(table["valid_to_ns"], -1).to_numpy().copy()
    if listed.empty:
        return np.asarray(stated)
    kinds = np.array(table["kind"].to_pylist(), object)
    spaces = np.array(table["namespace"].to_pylist(), object)
    is_last = np.r_[uid[1:] != uid[:-1], True]
    for (kind, namespace), times in listed.groupby(["object_kind", "namespace"], dropna=False).time_ns:
        rows = np.flatnonzero(is_last & (kinds == kind) & (stated < 0))
        if isinstance(namespace, str):
            rows = rows[spaces[rows] == namespace]
        lists = np.sort(times.to_numpy())
        at = np.searchsorted(lists, start[rows], side="right")
        missing = at < len(lists)
        stated[rows[missing]] = lists[at[missing]]
    return np.asarray(stated)


def _marks(collected: pa.Table | None) -> pd.DataFrame:
    columns = ["time_ns", "reason", "message", "object_kind", "namespace"]
    if collected is None or not collected.num_rows:
        return pd.DataFrame({name: pd.Series(dtype="int64" if name == "time_ns" else object) for name in columns})
    found = collected.filter(pc.is_in(collected["reason"], pa.array([LISTED, DENIED]))).select(columns).to_pandas()
    return found.sort_values("time_ns", kind="stable")
