"""Linking: spans to calls, each span being a side of a call or counted under a reason.

What spans are to each other is found on arrays (`hypocenter.graph.trees`); what that makes of them is decided by the
rules in ``graph/sql``, once for each combination of facts: a million spans have a few thousand combinations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from . import trees
from .compact import Compact, compact
from .engine import connect, run_in
from .facts import Facts
from .operations import OTHER, kept_operations
from .trees import Flags, Ints

_CALLS = (
    "trace_id client_span_id server_span_id caller caller_kind callee callee_kind client_operation operation "
    "caller_pod callee_pod start_ns client_start_ns client_duration_ns server_start_ns server_duration_ns queue_ns "
    "client_error server_error adjusted_milli matched"
)
_UNLINKED = "trace_id span_id service start_ns reason"
_VISITS = (
    "trace_id span_id parent_span_id service namespace version environment cluster pod instance node operation "
    "parent_operation parent_service kind given_kind status is_error start_ns duration_ns parent_start_ns "
    "parent_duration_ns exclusive_ns has_parent is_missing_parent is_entry has_remote_child has_server_child "
    "adjusted_milli peer peer_kind"
)
# Which flag tells that a number is known.
CALL_NUMBERS = {
    "client_row": "has_client",
    "client_start_ns": "has_client",
    "client_duration_ns": "has_client",
    "server_row": "has_server",
    "server_start_ns": "has_server",
    "server_duration_ns": "has_server",
    "queue_ns": "is_queued",
}
VISIT_NUMBERS = {"parent_start_ns": "has_parent", "parent_duration_ns": "has_parent"}


@dataclass(frozen=True, slots=True)
class Links:
    """``calls``: a row per remote interaction; ``unlinked``: per span without one; ``visits``: per distinct span."""

    calls: pa.Table
    unlinked: pa.Table
    visits: pa.Table


@dataclass(frozen=True, slots=True)
class Linked:
    """The same as facts, with the positions of spans (``row``) in place of ids."""

    calls: Facts
    unlinked: Facts
    visits: Facts


@dataclass(frozen=True, slots=True)
class Shapes:
    """The profiles of spans, prepared for the rules, and the database to run the rules in.

    ``table`` has a row per profile in the order of their numbers. ``part`` is the part that each plays in a call: the
    kind of OTLP, as far as one span tells it. ``service`` numbers their services, and ``rank`` is their place by
    content, since the numbers depend on the order in which spans came.
    """

    database: duckdb.DuckDBPyConnection
    table: pa.Table
    part: np.ndarray
    service: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(cls, database: duckdb.DuckDBPyConnection, profiles: pa.Table, *, fold_operations: bool = False) -> Shapes:
        """Return the shapes of `hypocenter.graph.compact.Profiles.table`.

        ``fold_operations`` names those that rollups do not tell apart alike, judged by the spans of all profiles.
        """
        ambiguous = run_in(database, "ambiguous", {"raw": profiles})
        table = run_in(database, "prepared", {"raw": profiles, "ambiguous": ambiguous})
        if fold_operations:
            kept = pa.array(kept_operations(table))
            table = _with(table, operation=pc.if_else(kept, table.column("operation"), OTHER))
        names = [name for name in profiles.column_names if name not in ("profile", "spans")]
        order = pc.sort_indices(profiles, sort_keys=[(name, "ascending") for name in names]).to_numpy()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        service, _ = pd.factorize(table.column("service").to_numpy())
        return cls(database, table, table.column("part").to_numpy(), service, rank)


def link(spans: pa.Table) -> Links:
    """Return the calls of ``spans`` (schema `hypocenter.tracer.schema.SPANS`, any order).

    Rows are sorted by trace, start and span. Texts are plain strings.

    Notes
    -----
    For complete traces the result depends neither on the order nor on the slicing of the input. The rules:
    docs/linking.md. `hypocenter.graph.slices` does the same for more spans than fit into memory.
    """
    rows, profiles = compact(spans)
    with connect() as database:
        found = link_compact(rows, Shapes.of(database, profiles))
    ids = {name: spans.column(name).combine_chunks() for name in ("trace_id", "span_id", "parent_span_id")}
    calls, visits, unlinked = found.calls.table(), found.visits.table(), found.unlinked.table()
    calls = _with(
        calls,
        trace_id=ids["trace_id"].take(calls.column("row")),
        client_span_id=ids["span_id"].take(calls.column("client_row")),
        server_span_id=ids["span_id"].take(calls.column("server_row")),
    )
    visits = _with(visits, **{name: ids[name].take(visits.column("row")) for name in ids})
    unlinked = _with(unlinked, **{name: ids[name].take(unlinked.column("row")) for name in ("trace_id", "span_id")})
    return Links(
        _sorted(calls, _CALLS, "trace_id start_ns client_span_id server_span_id caller operation"),
        _sorted(unlinked, _UNLINKED, "trace_id span_id reason start_ns service"),
        _sorted(visits, _VISITS, "trace_id start_ns span_id kind"),
    )


def link_compact(rows: Compact, shapes: Shapes) -> Linked:
    """Return the links of compact spans of whole traces."""
    rank = shapes.rank[rows.profile]
    identity, parent_identity = trees.identities(rows.trace, rows.span, rows.parent, rows.has_parent_id)
    is_client = np.isin(shapes.part, (3, 4))
    order = (rows.start_ns, rows.duration_ns, rank, rows.adjusted_milli, rows.parent)
    is_copy = trees.copies(identity, is_client[rows.profile], order)
    duplicates = np.flatnonzero(is_copy)
    kept = np.flatnonzero(~is_copy) if len(duplicates) else np.arange(len(is_copy))
    given = rows
    if len(duplicates):
        rows, identity, parent_identity = rows.take(kept), identity[kept], parent_identity[kept]
    service = shapes.service[rows.profile]
    parent = trees.parents(identity, parent_identity, is_client[rows.profile], service)
    has_parent, above = parent >= 0, np.maximum(parent, 0)

    # The pair of profiles, of the span and of its parent; without one, whether it names one.
    parent_profile = np.where(has_parent, rows.profile[above], np.where(rows.has_parent_id, -1, -2))
    pair, pairs = _combinations("pair", profile=rows.profile, parent_profile=parent_profile)
    pairs = pairs.append_column("has_parent_id", pc.not_equal(pairs.column("parent_profile"), -2))
    pairs = _with(pairs, parent_profile=_null_below_zero(pairs.column("parent_profile")))
    facts = {"profiles": shapes.table, "pairs": pairs}
    kin = run_in(shapes.database, "pairs", facts)
    is_foreign, is_arrival = _flags(kin, "is_foreign", pair), _flags(kin, "is_arrival", pair)
    is_answer = is_arrival & ~_flags(kin, "has_broker", pair)
    facts["pairs"] = _with(pairs, is_foreign=kin.column("is_foreign"), is_arrival=kin.column("is_arrival"))

    arrivals = np.bincount(parent[is_answer & has_parent], minlength=len(parent))
    has_remote_child = np.bincount(parent[is_foreign], minlength=len(parent)) > 0
    stand, stands = _combinations(
        "stand", pair=pair, has_remote_child=has_remote_child, arrivals=np.minimum(arrivals, 1)
    )
    facts["stands"] = stands
    roles = run_in(shapes.database, "stands", facts)
    kinds = roles.column("kind").to_numpy()
    facts["stands"] = _with(stands, kind=roles.column("kind"))

    kind = kinds[stand]
    is_in_process = (kind == 1) & (arrivals == 0)
    exclusive = trees.exclusive_time(parent, rows.start_ns, rows.duration_ns, is_in_process)

    arrived = np.flatnonzero(is_arrival)
    is_repeat = np.zeros(len(parent), bool)
    several = arrived[is_answer[arrived] & has_parent[arrived] & (arrivals[above[arrived]] > 1)]
    if len(several):
        is_repeat[several] = trees.later_of_each(parent, several, (rows.start_ns, rows.duration_ns, rows.span))
    meeting, meetings = _combinations(
        "meeting",
        stand=stand[arrived],
        parent_stand=np.where(has_parent[arrived], stand[above[arrived]], -1),
        is_repeat=is_repeat[arrived],
    )
    meetings = _with(meetings, parent_stand=_null_below_zero(meetings.column("parent_stand")))
    told = run_in(shapes.database, "arrivals", {**facts, "meetings": meetings})
    opened = np.flatnonzero(roles.column("is_open").to_numpy()[stand])
    departures = run_in(shapes.database, "departures", facts)

    start, duration = rows.start_ns, rows.duration_ns
    client, server = np.concatenate([above[arrived], opened]), np.concatenate([arrived, opened])
    shape = np.concatenate([meeting, len(told) + stand[opened]])
    dims = pa.concat_tables([told, departures])
    calls = Facts(
        dims,
        shape,
        {
            "row": kept[server],
            "client_row": kept[client],
            "server_row": kept[server],
            "start_ns": np.where(_flags(dims, "has_client", shape), start[client], start[server]),
            "client_start_ns": start[client],
            "client_duration_ns": duration[client],
            "server_start_ns": start[server],
            "server_duration_ns": duration[server],
            # A negative time in the queue is clock skew, and kept.
            "queue_ns": start[server] - start[client] - duration[client],
            "adjusted_milli": rows.adjusted_milli[server],
        },
        CALL_NUMBERS,
    )
    visits = Facts(
        roles,
        stand,
        {
            "row": kept,
            "start_ns": start,
            "duration_ns": duration,
            "parent_start_ns": start[above],
            "parent_duration_ns": duration[above],
            "exclusive_ns": exclusive,
            "adjusted_milli": rows.adjusted_milli,
        },
        VISIT_NUMBERS,
    )
    lost = np.flatnonzero(pc.is_valid(roles.column("reason")).to_numpy()[stand])
    copied = shapes.table.select(["service"]).append_column(
        "reason", pa.array(["duplicate"] * len(shapes.table), pa.string())
    )
    unlinked = Facts(
        pa.concat_tables([roles.select(["service", "reason"]), copied]),
        np.concatenate([stand[lost], len(roles) + given.profile[duplicates]]),
        {
            "row": np.concatenate([kept[lost], duplicates]),
            "start_ns": np.concatenate([start[lost], given.start_ns[duplicates]]),
        },
    )
    return Linked(calls, unlinked, visits)


def _combinations(name: str, **columns: np.ndarray) -> tuple[Ints, pa.Table]:
    """Return the number of each row's combination, and a table of the distinct ones with their numbers as ``name``."""
    key = np.zeros(len(next(iter(columns.values()))), np.int64)
    radixes = []
    for column in columns.values():
        low = int(column.min(initial=0))
        radix = int(column.max(initial=0)) - low + 1
        key = key * radix + (column.astype(np.int64) - low)
        radixes.append((low, radix))
    numbers, distinct = pd.factorize(key)
    decoded: dict[str, np.ndarray] = {}
    for (column_name, column), (low, radix) in reversed(list(zip(columns.items(), radixes, strict=True))):
        decoded[column_name] = (distinct % radix + low).astype(column.dtype)
        distinct = distinct // radix
    return numbers, pa.table({name: np.arange(len(distinct)), **decoded})


def _null_below_zero(column: pa.ChunkedArray) -> pa.Array:
    values = column.to_numpy()
    return pa.array(values, mask=values < 0)


def _flags(table: pa.Table, name: str, at: Ints) -> Flags:
    flags: Flags = table.column(name).to_numpy()[at]
    return flags


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    """Return ``table`` with columns added or replaced."""
    return pa.table({**{name: table.column(name) for name in table.column_names}, **columns})


def _sorted(table: pa.Table, columns: str, keys: str) -> pa.Table:
    return table.select(columns.split()).sort_by([(key, "ascending") for key in keys.split()])
