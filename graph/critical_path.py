"""Critical paths: which spans decided how long each request took, exactly, level by level of all trees at once.

The walk is that of CRISP (Zhang et al., USENIX ATC 2022, section 3): from the end of a span back to its start, always
into the child that returned last, and on from where that child began. What no child covers on the way is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ..tracer.store import Store
from ..tracer.window import HOUR_NS, SECOND_NS, Window
from .cache import OVERLAP_NS
from .compact import COLUMNS
from .link import Links, link

Ints = npt.NDArray[np.int64]
OPERATION_COLUMNS = ["service", "operation", "spans", "critical_s", "critical_share"]
EDGE_COLUMNS = ["source", "target", "calls", "critical_s", "critical_share"]


@dataclass(frozen=True, slots=True)
class CriticalPaths:
    """What the requests of a window spent their time on.

    ``operations``: time of its own on the critical path; the shares add up to 1. ``edges``: time during which a call to
    the callee was on the path, what it called included. ``requests`` and ``total_s`` are the roots and their durations.
    """

    operations: pd.DataFrame
    edges: pd.DataFrame
    requests: int
    total_s: float


def on_path(parent: Ints, start_ns: Ints, duration_ns: Ints) -> tuple[Ints, Ints]:
    """Return how long each span is on the critical path of its root, alone and with what it called, shapes (n,).

    ``parent`` is the position of the parent, -1 for a root. A span is cut to its parent's interval; one that lies
    outside of it (asynchronous work) is on no path, and of siblings that end together the later one is waited for. The
    times alone of all spans add up to the durations of the roots. Spans in a circle are on no path.

    Notes
    -----
    One round for each level of the trees, and within it one for each child on the path of its parent, over arrays.
    """
    size = len(parent)
    begin, end = start_ns.copy(), start_ns + duration_ns
    alone, whole = np.zeros(size, np.int64), np.zeros(size, np.int64)
    by_parent = np.argsort(parent, kind="stable")
    first = np.searchsorted(parent[by_parent], np.arange(size))
    count = np.bincount(parent[parent >= 0], minlength=size)
    level = np.flatnonzero(parent < 0)
    while len(level):
        whole[level] = end[level] - begin[level]
        alone[level] = whole[level]
        children = by_parent[_ranges(first[level], count[level])]
        above = parent[children]
        begin[children] = np.maximum(begin[children], begin[above])
        end[children] = np.minimum(end[children], end[above])
        children = children[end[children] > begin[children]]
        level = _waited_for(children, parent, begin, end)
        np.subtract.at(alone, parent[level], end[level] - begin[level])
    return alone, whole


def _ranges(first: Ints, count: Ints) -> Ints:
    """Return the positions ``first[i] .. first[i] + count[i]`` of all i, one after the other."""
    ends = np.cumsum(count)
    found: Ints = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - count), count)
    return found


def _waited_for(children: Ints, parent: Ints, begin: Ints, end: Ints) -> Ints:
    """Return the children on the paths of their parents: the last to end, then the last to end before it began, ..."""
    ranked = children[np.lexsort((children, begin[children], end[children], parent[children]))]
    family = parent[ranked]
    is_last = np.ones(len(ranked), bool)
    is_last[:-1] = family[1:] != family[:-1]
    before = _last_ended_before(ranked, family, begin, end)
    chosen = []
    at = np.flatnonzero(is_last)
    while len(at):
        chosen.append(ranked[at])
        at = before[at]
        at = at[at >= 0]
    return np.concatenate([np.empty(0, np.int64), *chosen])


def _last_ended_before(ranked: Ints, family: Ints, begin: Ints, end: Ints) -> Ints:
    """Return for each of ``ranked`` the place of the last of its family that ended when it began; -1 for none."""
    n = len(ranked)
    times = np.concatenate([end[ranked], begin[ranked]])
    # Ends and begins in one order: an end at the very moment of a begin comes before it.
    is_begin = np.repeat([False, True], n)
    order = np.lexsort((is_begin, times, np.concatenate([family, family])))
    ended = np.cumsum(~is_begin[order])
    found = np.empty(n, np.int64)
    begins = is_begin[order]
    found[order[begins] - n] = ended[begins] - 1
    is_same = (found >= 0) & (family[np.maximum(found, 0)] == family)
    return np.where(is_same, found, -1)


def read(store: Store, window: Window | None = None) -> CriticalPaths:
    """Return the critical paths of the requests that begin in ``window`` (None: all), linked hour by hour."""
    return _summed(list(_parts(store, window)))


def critical_paths(links: Links) -> CriticalPaths:
    """Return the critical paths of linked spans (`hypocenter.graph.link.link`)."""
    return _summed([_part(links.visits, None)])


def _parts(store: Store, window: Window | None) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, int]]:
    held = store.bounds("spans")
    if held is None:
        return
    start_ns, end_ns = (held.start_ns, held.end_ns) if window is None else (window.start_ns, window.end_ns)
    start_ns, end_ns = max(start_ns, held.start_ns), min(end_ns, held.end_ns)
    for hour_ns in range(start_ns // HOUR_NS * HOUR_NS, end_ns, HOUR_NS):
        begun = Window(max(hour_ns, start_ns), min(hour_ns + HOUR_NS, end_ns))
        around = Window(begun.start_ns - OVERLAP_NS, begun.end_ns + OVERLAP_NS)
        spans = store.read("spans", around, columns=COLUMNS)
        if spans.num_rows:
            yield _part(link(spans).visits, begun)


def _part(visits: pa.Table, begun: Window | None) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Return sums by operation, sums by edge, and the number of roots, of the traces whose roots begin in time."""
    names = ["trace_id", "span_id", "parent_span_id", "kind", "start_ns", "duration_ns", "adjusted_milli"]
    texts = ["service", "operation", "parent_service", "is_entry", "peer", "has_server_child"]
    frame = visits.select([*names, *texts]).to_pandas()
    parent = _parents(frame)
    alone, whole = on_path(parent, frame["start_ns"].to_numpy(), frame["duration_ns"].to_numpy())
    is_root = parent < 0
    if begun is not None:
        started = frame["start_ns"].to_numpy()
        counted = is_root & (started >= begun.start_ns) & (started < begun.end_ns)
        within = frame["trace_id"].isin(frame["trace_id"][counted]).to_numpy()
        alone, whole, is_root = np.where(within, alone, 0), np.where(within, whole, 0), counted
    frame["alone_ns"], frame["whole_ns"] = alone, whole
    frame = frame[frame["whole_ns"] > 0]
    operations = frame.groupby(["service", "operation"], as_index=False).agg(
        spans=("alone_ns", "size"), critical_ns=("alone_ns", "sum")
    )
    arrived = frame[frame["is_entry"]].assign(source=lambda f: f["parent_service"].fillna("external"))
    left = frame[frame["kind"].isin((3, 4)) & ~frame["has_server_child"] & frame["peer"].notna()]
    calls = pd.concat(
        [
            arrived.rename(columns={"service": "target"})[["source", "target", "whole_ns"]],
            left.rename(columns={"service": "source", "peer": "target"})[["source", "target", "whole_ns"]],
        ]
    )
    edges = calls.groupby(["source", "target"], as_index=False).agg(
        calls=("whole_ns", "size"), critical_ns=("whole_ns", "sum")
    )
    return operations, edges, int(is_root.sum())


def _parents(frame: pd.DataFrame) -> Ints:
    """Return the position of each span's parent, -1 without one; a server shares its client's id in Zipkin."""
    is_client = frame["kind"].isin((3, 4)).to_numpy()
    at = pd.Series(np.arange(len(frame)), pd.MultiIndex.from_frame(frame[["trace_id", "span_id"]]))
    wanted = pd.MultiIndex.from_frame(frame[["trace_id", "parent_span_id"]])
    own = pd.MultiIndex.from_frame(frame[["trace_id", "span_id"]])
    clients, others = (part[~part.index.duplicated()] for part in (at[is_client], at[~is_client]))
    found = others.reindex(wanted).to_numpy()
    found = np.where(np.isnan(found), clients.reindex(wanted).to_numpy(), found)
    shared = clients.reindex(own).to_numpy()
    found = np.where(~is_client & ~np.isnan(shared), shared, found)
    parent = np.where(np.isnan(found), -1, found).astype(np.int64)
    return np.where(parent == np.arange(len(frame)), -1, parent)


def _summed(parts: list[tuple[pd.DataFrame, pd.DataFrame, int]]) -> CriticalPaths:
    empty = pd.DataFrame(columns=["critical_ns"])
    operations = pd.concat([part[0] for part in parts]) if parts else empty.assign(service=[], operation=[], spans=[])
    edges = pd.concat([part[1] for part in parts]) if parts else empty.assign(source=[], target=[], calls=[])
    total_ns = int(operations["critical_ns"].sum())
    tables = []
    for frame, keys, columns in (
        (operations, ["service", "operation"], OPERATION_COLUMNS),
        (edges, ["source", "target"], EDGE_COLUMNS),
    ):
        table = frame.groupby(keys, as_index=False).sum()
        table["critical_s"] = table["critical_ns"] / SECOND_NS
        table["critical_share"] = table["critical_ns"] / (total_ns or np.nan)
        table = table.sort_values(["critical_ns", *keys], ascending=[False, True, True])
        tables.append(table[columns].reset_index(drop=True))
    return CriticalPaths(tables[0], tables[1], sum(part[2] for part in parts), total_ns / SECOND_NS)
