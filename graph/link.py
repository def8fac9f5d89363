"""Linking: spans to calls, each span being a side of a call or counted under a reason.

What spans are to each other is found on arrays (`hypocenter.graph.trees`); what that makes of them is decided by the
rules in ``graph/sql``, once for each combination of facts: a million spans have a few thousand combinations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from . import trees
from .compact import Compact, compact
from .engine import connect, run_in
from .operations import OTHER, kept_operations
from .trees import Flags, Ints

_ROUTE = ("caller", "caller_kind", "callee", "callee_kind", "client_operation", "operation", "caller_pod", "callee_pod")


@dataclass(frozen=True, slots=True)
class Links:
    """``calls``: a row per remote interaction; ``unlinked``: per span without one; ``visits``: per distinct span."""

    calls: pa.Table
    unlinked: pa.Table
    visits: pa.Table


@dataclass(frozen=True)
class Shapes:
    """The profiles of spans (`Profiles.table`), prepared for the rules, and a database to run the rules in."""

    raw: pa.Table
    database: duckdb.DuckDBPyConnection
    # Name the operations that rollups do not tell apart alike, by the spans of all profiles.
    fold_operations: bool = False

    @cached_property
    def table(self) -> pa.Table:
        """What each profile says of its spans, in the order of their numbers."""
        ambiguous = run_in(self.database, "ambiguous", {"raw": self.raw})
        table = run_in(self.database, "prepared", {"raw": self.raw, "ambiguous": ambiguous})
        if not self.fold_operations:
            return table
        kept = pa.array(kept_operations(table))
        return _with(table, operation=pc.if_else(kept, table.column("operation"), OTHER))

    @cached_property
    def part(self) -> np.ndarray:
        """The part that each profile plays in a call: the kind of OTLP, as far as it is known yet."""
        part: np.ndarray = self.table.column("part").to_numpy()
        return part

    @cached_property
    def service(self) -> np.ndarray:
        """A number for the service of each profile."""
        numbers: np.ndarray = pd.factorize(self.table.column("service").to_numpy())[0]
        return numbers

    @cached_property
    def rank(self) -> np.ndarray:
        """The place of each profile by content: its number depends on the order in which spans came."""
        names = [name for name in self.raw.column_names if name not in ("profile", "spans")]
        order = pc.sort_indices(self.raw, sort_keys=[(name, "ascending") for name in names]).to_numpy()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank


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
        found = link_compact(rows, Shapes(profiles, database))
    ids = {name: spans.column(name).combine_chunks() for name in ("trace_id", "span_id", "parent_span_id")}
    calls = found.calls
    side = pc.coalesce(calls.column("client_row"), calls.column("server_row"), calls.column("stand_in_row"))
    calls = _with(
        calls,
        trace_id=ids["trace_id"].take(side),
        client_span_id=ids["span_id"].take(calls.column("client_row")),
        server_span_id=ids["span_id"].take(calls.column("server_row")),
    )
    visits, unlinked = found.visits, found.unlinked
    visits = _with(visits, **{name: ids[name].take(visits.column("row")) for name in ids})
    unlinked = _with(unlinked, **{name: ids[name].take(unlinked.column("row")) for name in ("trace_id", "span_id")})
    return Links(
        _sorted(calls, "trace_id start_ns client_span_id server_span_id caller operation"),
        _sorted(unlinked, "trace_id span_id reason start_ns service"),
        _sorted(visits, "trace_id start_ns span_id kind"),
    )


def link_compact(rows: Compact, shapes: Shapes) -> Links:
    """Return the links of compact spans of whole traces: rows by position in place of ids, texts as dictionaries."""
    rank = shapes.rank[rows.profile]
    identity, parent_identity = trees.identities(rows.trace, rows.span, rows.parent, rows.has_parent_id)
    is_client = np.isin(shapes.part, (3, 4))
    order = (rows.start_ns, rows.duration_ns, rank, rows.adjusted_milli, rows.parent)
    is_copy = trees.copies(identity, is_client[rows.profile], order)
    duplicates = np.flatnonzero(is_copy)
    kept = np.flatnonzero(~is_copy) if len(duplicates) else np.arange(len(is_copy))
    given = rows
    if len(duplicates):
        rows, rank, identity, parent_identity = rows.take(kept), rank[kept], identity[kept], parent_identity[kept]
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
        is_repeat[several] = trees.first_of_each(parent, several, (rows.start_ns, rank, rows.span))
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

    calls = pa.concat_tables(
        [
            _calls(rows, kept, told, meeting, client=above[arrived], server=arrived),
            _calls(rows, kept, departures, stand[opened], client=opened, server=opened),
        ],
        promote_options="permissive",
    ).unify_dictionaries()
    reason = roles.column("reason").combine_chunks()
    lost = np.flatnonzero(pc.is_valid(reason).to_numpy(zero_copy_only=False)[stand])
    unlinked = pa.concat_tables(
        [
            _unlinked(rows, kept, lost, shapes, _coded(reason, stand[lost])),
            _unlinked(given, np.arange(len(given)), duplicates, shapes, _constant("duplicate", len(duplicates))),
        ]
    ).unify_dictionaries()
    texts = {name: _coded(shapes.table.column(name), rows.profile) for name in _VISIT_TEXTS}
    parent_texts = {
        f"parent_{name}": _coded(shapes.table.column(name), rows.profile[above], has_parent)
        for name in ("service", "operation")
    }
    visits = pa.table(
        {
            "row": kept,
            **texts,
            **parent_texts,
            "kind": kind,
            **{name: shapes.table.column(name).take(pa.array(rows.profile)) for name in ("given_kind", "status")},
            "is_error": _flags(shapes.table, "is_error", rows.profile),
            "start_ns": rows.start_ns,
            "duration_ns": rows.duration_ns,
            "parent_start_ns": pa.array(rows.start_ns[above], mask=~has_parent),
            "parent_duration_ns": pa.array(rows.duration_ns[above], mask=~has_parent),
            "exclusive_ns": exclusive,
            "has_parent": has_parent,
            "is_missing_parent": rows.has_parent_id & ~has_parent,
            "is_entry": ~has_parent | is_foreign,
            "has_remote_child": has_remote_child,
            "has_server_child": arrivals > 0,
            "adjusted_milli": rows.adjusted_milli,
        }
    )
    return Links(calls, unlinked, visits)


_VISIT_TEXTS = ("service", "namespace", "pod", "instance", "node", "operation", "peer", "peer_kind")


def _calls(rows: Compact, kept: Ints, told: pa.Table, meeting: Ints, client: Ints, server: Ints) -> pa.Table:
    """Return calls as ``told`` by their meetings; ``client`` and ``server`` are the positions of both sides' spans."""
    has_client, has_server = _flags(told, "has_client", meeting), _flags(told, "has_server", meeting)
    start, duration = rows.start_ns, rows.duration_ns
    no_client, no_server = ~has_client, ~has_server
    is_queued = _flags(told, "is_queued", meeting)
    return pa.table(
        {
            **{name: _coded(told.column(name), meeting) for name in (*_ROUTE, "matched")},
            "client_row": pa.array(kept[client], mask=no_client),
            "server_row": pa.array(kept[server], mask=no_server),
            "stand_in_row": kept[server],
            "start_ns": np.where(has_client, start[client], start[server]),
            "client_start_ns": pa.array(start[client], mask=no_client),
            "client_duration_ns": pa.array(duration[client], mask=no_client),
            "server_start_ns": pa.array(start[server], mask=no_server),
            "server_duration_ns": pa.array(duration[server], mask=no_server),
            # A negative time in the queue is clock skew, and kept.
            "queue_ns": pa.array(start[server] - start[client] - duration[client], mask=~is_queued),
            "client_error": _flags(told, "client_error", meeting),
            "server_error": _flags(told, "server_error", meeting),
            "adjusted_milli": rows.adjusted_milli[server],
        }
    )


def _unlinked(rows: Compact, kept: Ints, lost: Ints, shapes: Shapes, reason: pa.Array) -> pa.Table:
    service = _coded(shapes.table.column("service"), rows.profile[lost])
    return pa.table({"row": kept[lost], "service": service, "reason": reason, "start_ns": rows.start_ns[lost]})


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


def _coded(column: pa.ChunkedArray | pa.Array, at: Ints, known: Flags | None = None) -> pa.Array:
    """Return the texts of ``column`` at positions, null where not ``known``, as a dictionary array."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = whole.dictionary_encode()
    places = pa.array(at) if known is None else pa.array(at, mask=~known)
    return pa.DictionaryArray.from_arrays(coded.indices.take(places), coded.dictionary)


def _constant(text: str, times: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([text]))


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    """Return ``table`` with columns added or replaced."""
    return pa.table({**{name: table.column(name) for name in table.column_names}, **columns})


_INTERNAL = ("row", "client_row", "server_row", "stand_in_row")


def _sorted(table: pa.Table, keys: str) -> pa.Table:
    """Return the rows sorted, without positions, texts plain."""
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        if name not in _INTERNAL:
            columns[name] = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
    return pa.table(columns).sort_by([(key, "ascending") for key in keys.split()])
