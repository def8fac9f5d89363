"""Linking: spans to calls, each span being a side of a call or counted under a reason.

What spans are to each other is found on arrays (`hypocenter.graph.trees`); what that makes of them is decided by the
rules (`hypocenter.graph.rules`), once for each combination of facts: spans look theirs up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from . import trees
from .compact import Compact, compact
from .critical_path import on_path
from .facts import Facts
from .messages import UNKNOWN
from .queries import connect, run_in
from .rules import MISSING_PARENT, OTHER_SERVICE, ROOT, SAME_SERVICE, Rules
from .trees import Flags, Ints

_CALLS = (
    "trace_id client_span_id server_span_id caller caller_kind callee callee_kind client_operation operation "
    "caller_pod callee_pod start_ns client_start_ns client_duration_ns server_start_ns server_duration_ns queue_ns "
    "critical_ns timeouts client_error server_error adjusted_milli matched"
)
_UNLINKED = "trace_id span_id service start_ns reason"
_VISITS = (
    "trace_id span_id parent_span_id service namespace version environment cluster pod instance node operation "
    "parent_operation parent_service kind given_kind status is_error start_ns duration_ns parent_start_ns "
    "parent_duration_ns exclusive_ns critical_ns has_parent is_missing_parent is_entry has_remote_child "
    "has_server_child adjusted_milli peer peer_kind"
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
VISIT_NUMBERS = {"parent": "has_parent", "parent_start_ns": "has_parent", "parent_duration_ns": "has_parent"}


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


def link(spans: pa.Table) -> Links:
    """Return the calls of ``spans`` (schema `hypocenter.tracer.schema.SPANS`, any order).

    Rows are sorted by trace, start and span. Texts are plain strings.

    Notes
    -----
    For complete traces the result depends neither on the order nor on the slicing of the input. The rules:
    docs/linking.md. `hypocenter.graph.slices` does the same for more spans than fit into memory.
    """
    with connect() as database:
        rows, rules = compact(spans, lambda profiles: Rules.of(partial(run_in, database), profiles))
    found = link_compact(rows, rules)
    ids = {name: spans.column(name).combine_chunks() for name in ("trace_id", "span_id", "parent_span_id")}
    calls, visits, unlinked = found.calls.table(), found.visits.table(), found.unlinked.table()
    calls = _with(
        calls,
        trace_id=ids["trace_id"].take(calls.column("row")),
        client_span_id=ids["span_id"].take(calls.column("client_row")),
        server_span_id=ids["span_id"].take(calls.column("server_row")),
    )
    of_parent = {
        f"parent_{name}": visits.column(name).take(visits.column("parent")) for name in ("operation", "service")
    }
    visits = _with(visits, **of_parent, **{name: ids[name].take(visits.column("row")) for name in ids})
    unlinked = _with(unlinked, **{name: ids[name].take(unlinked.column("row")) for name in ("trace_id", "span_id")})
    return Links(
        _sorted(calls, _CALLS, "trace_id start_ns client_span_id server_span_id caller operation queue_ns"),
        _sorted(unlinked, _UNLINKED, "trace_id span_id reason start_ns service"),
        _sorted(visits, _VISITS, "trace_id start_ns span_id kind"),
    )


def link_compact(rows: Compact, rules: Rules) -> Linked:
    """Return the links of compact spans of whole traces."""
    spans = _Spans.of(rows, rules)
    critical, whole = on_path(spans.parent, spans.rows.start_ns, spans.rows.duration_ns, spans.rows.span)
    visits = _visits(spans, rules, critical)
    return Linked(_calls(spans, rules, whole), _unlinked(rows, spans, rules, visits), visits)


@dataclass(frozen=True, slots=True)
class _Spans:
    """Spans without their copies, a value per span: its parent (``above``: 0 for none) and its stand in the rules.

    ``kept`` are their positions among those given, ``copies`` the positions of the others.
    """

    rows: Compact
    kept: Ints
    copies: Ints
    parent: Ints
    has_parent: Flags
    above: Ints
    stand: Ints
    is_arrival: Flags
    is_repeat: Flags
    is_in_process: Flags

    @classmethod
    def of(cls, rows: Compact, rules: Rules) -> _Spans:
        is_client = np.isin(rules.profiles.column("part").to_numpy(), (3, 4))[rows.profile]
        identity, parent_identity = trees.identities(rows)
        is_copy = trees.copies(identity, is_client, lambda at: _content(rows.take(at), rules))
        kept, copies = np.arange(len(rows)), np.flatnonzero(is_copy)
        if len(copies):
            kept = np.flatnonzero(~is_copy)
            rows, is_client = rows.take(kept), is_client[kept]
            identity, parent_identity = identity[kept], parent_identity[kept]
        service = rules.service_of[rows.profile]
        parent = trees.parents(identity, parent_identity, is_client, service)
        has_parent, above = parent >= 0, np.maximum(parent, 0)
        absent = np.where(rows.has_parent_id, MISSING_PARENT, ROOT)
        relation = np.where(has_parent, np.where(service[above] == service, SAME_SERVICE, OTHER_SERVICE), absent)
        has_remote_child, no = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        has_remote_child[parent[relation == OTHER_SERVICE]] = True
        # Whether something arrives, and whether it answers, does not depend on its own children.
        alone = rules.stand(rows.profile, relation, no, no)
        is_arrival, is_answer = rules.of_stands("is_arrival")[alone], rules.of_stands("is_answer")[alone] & has_parent
        answers = np.bincount(parent[is_answer], minlength=len(rows))
        stand = rules.stand(rows.profile, relation, has_remote_child, answers > 0)
        is_repeat = np.zeros(len(rows), bool)
        several = np.flatnonzero(is_answer & (answers[above] > 1))
        if len(several):
            order = (rows.start_ns, rows.duration_ns, rows.span)
            is_repeat[several] = trees.later_of_each(parent, several, order)
        is_in_process = (rules.of_stands("kind")[stand] == 1) & (answers == 0)
        return cls(rows, kept, copies, parent, has_parent, above, stand, is_arrival, is_repeat, is_in_process)


def _calls(spans: _Spans, rules: Rules, whole_ns: Ints) -> Facts:
    """Return the calls; ``whole_ns`` is how long each span is on the critical path, with what it called."""
    rows, above, stand = spans.rows, spans.above, spans.stand
    arrived, opened = np.flatnonzero(spans.is_arrival), np.flatnonzero(rules.of_stands("is_open")[stand])
    has_parent = spans.has_parent[arrived]
    first, further, batch, message = rules.arrivals(
        stand[arrived], stand[above[arrived]], has_parent, spans.is_repeat[arrived], rows.linked[arrived]
    )
    call = np.concatenate([first, further, rules.departures(stand[opened])])
    arrived, has_parent = (np.concatenate([column, column[batch]]) for column in (arrived, has_parent))
    client, server = np.concatenate([above[arrived], opened]), np.concatenate([arrived, opened])
    has_caller = np.concatenate([has_parent, np.ones(len(opened), bool)])
    start, duration = rows.start_ns, rows.duration_ns
    sent_ns = start[client] + duration[client]
    by_link = np.flatnonzero(message >= 0)
    sent_ns[by_link] = rows.sent_ns[rows.message[arrived[by_link]] + message[by_link]]
    is_sent = np.zeros(len(call), bool)
    is_sent[by_link] = sent_ns[by_link] != UNKNOWN
    shape, (call, caller, callee, sent) = _combinations(
        call, np.where(has_caller, rows.profile[client], -1), rows.profile[server], is_sent
    )
    dims = rules.calls(call, caller, callee, sent > 0)
    has_client, has_server = (dims.column(name).to_numpy()[shape] for name in ("has_client", "has_server"))
    return Facts(
        dims,
        shape,
        {
            "row": spans.kept[server],
            "client_row": spans.kept[client],
            "server_row": spans.kept[server],
            "start_ns": np.where(has_client, start[client], start[server]),
            "client_start_ns": start[client],
            "client_duration_ns": duration[client],
            "server_start_ns": start[server],
            "server_duration_ns": duration[server],
            # A negative time in the queue is clock skew, and kept.
            "queue_ns": start[server] - sent_ns,
            # Who waits for a call waits for the network as well, which only the client sees.
            "critical_ns": np.where(has_client, whole_ns[client], np.where(has_server, whole_ns[server], 0)),
            "timeouts": _timeouts(dims, shape, duration[client], duration[server]),
            "adjusted_milli": rows.adjusted_milli[server],
        },
        CALL_NUMBERS,
    )


def _visits(spans: _Spans, rules: Rules, critical_ns: Ints) -> Facts:
    rows, above = spans.rows, spans.above
    start, duration = rows.start_ns, rows.duration_ns
    shape, (stands, profiles) = _combinations(spans.stand, rows.profile)
    return Facts(
        rules.visits(stands, profiles),
        shape,
        {
            "row": spans.kept,
            "parent": above,
            "start_ns": start,
            "duration_ns": duration,
            "parent_start_ns": start[above],
            "parent_duration_ns": duration[above],
            "exclusive_ns": trees.exclusive_time(spans.parent, start, duration, spans.is_in_process),
            "critical_ns": critical_ns,
            "adjusted_milli": rows.adjusted_milli,
        },
        VISIT_NUMBERS,
    )


def _unlinked(given: Compact, spans: _Spans, rules: Rules, visits: Facts) -> Facts:
    dims, shape = visits.dims, visits.shape
    lost = np.flatnonzero(pc.is_valid(dims.column("reason")).to_numpy()[shape])
    copied = rules.profiles.select(["service"])
    copied = copied.append_column("reason", pa.array(["duplicate"] * len(copied), pa.string()))
    return Facts(
        pa.concat_tables([dims.select(["service", "reason"]), copied]),
        np.concatenate([shape[lost], len(dims) + given.profile[spans.copies]]),
        {
            "row": np.concatenate([spans.kept[lost], spans.copies]),
            "start_ns": np.concatenate([spans.rows.start_ns[lost], given.start_ns[spans.copies]]),
        },
    )


def _timeouts(calls: pa.Table, shape: Ints, client_ns: Ints, server_ns: Ints) -> Ints:
    """Return 1 for each call that its client gave up: it says so, or it failed and its server went on for longer."""
    says, failed, both = (calls.column(name).to_numpy() for name in ("is_timeout", "client_error", "has_server"))
    found: Ints = (says[shape] | ((failed & both)[shape] & (server_ns > client_ns))).astype(np.int64)
    return found


def _content(rows: Compact, rules: Rules) -> tuple[np.ndarray, ...]:
    """Return the keys by which copies of a span are sorted."""
    return rows.start_ns, rows.duration_ns, rules.rank[rows.profile], rows.adjusted_milli, rows.parent


def _combinations(*columns: np.ndarray) -> tuple[Ints, list[Ints]]:
    """Return the number of each row's combination, and the columns of the distinct ones by number."""
    key = np.zeros(len(columns[0]), np.int64)
    ranges = [(int(column.min(initial=0)), int(column.max(initial=0)) + 1) for column in columns]
    for column, (low, high) in zip(columns, ranges, strict=True):
        key *= high - low
        key += column - low
    numbers, distinct = pd.factorize(key)
    found: list[Ints] = []
    for low, high in reversed(ranges):
        found.append(distinct % (high - low) + low)
        distinct = distinct // (high - low)
    return numbers, found[::-1]


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    """Return ``table`` with columns added or replaced."""
    return pa.table({**{name: table.column(name) for name in table.column_names}, **columns})


def _sorted(table: pa.Table, columns: str, keys: str) -> pa.Table:
    return table.select(columns.split()).sort_by([(key, "ascending") for key in keys.split()])
