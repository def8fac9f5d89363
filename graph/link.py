"""Linking: spans to calls, each span being a side of a call or counted under a reason.

What spans are to each other is found on arrays (`hypocenter.graph.trees`); what that makes of them is decided by the
rules (`hypocenter.graph.rules`), once for each combination of facts: spans look theirs up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from . import trees
from .attempts import Attempts, shared
from .compact import Compact, compact
from .critical_path import on_path
from .facts import Facts
from .messages import UNKNOWN
from .ordering import Ints
from .queries import connect, run_in
from .rules import Rules
from .stands import Spans

_CALLS = (
    "trace_id client_span_id server_span_id caller caller_kind callee callee_kind client_operation operation "
    "caller_operation caller_pod callee_pod start_ns client_start_ns client_duration_ns server_start_ns "
    "server_duration_ns queue_ns critical_ns timeouts caller_requests retries hedges client_error server_error "
    "http_4xx http_5xx adjusted_milli matched"
)
_UNLINKED = "trace_id span_id service request_operation start_ns reason"
_VISITS = (
    "trace_id span_id parent_span_id service namespace version environment cluster pod instance node operation "
    "parent_operation parent_service request_operation kind given_kind status is_error start_ns duration_ns "
    "parent_start_ns parent_duration_ns exclusive_ns critical_ns has_parent is_missing_parent is_entry "
    "has_remote_child has_server_child adjusted_milli peer peer_kind"
)
# Which flag tells that a number is known.
CALL_NUMBERS = {
    "client_row": "has_client",
    "client_start_ns": "has_client",
    "client_duration_ns": "has_client",
    "server_row": "has_server",
    "caller_request": "has_caller",
    "server_start_ns": "has_server",
    "server_duration_ns": "has_server",
    "queue_ns": "is_queued",
}
VISIT_NUMBERS = {"parent": "has_parent", "parent_start_ns": "has_parent", "parent_duration_ns": "has_parent"}


@dataclass(frozen=True, slots=True)
class Links:
    """``calls``: a row per remote interaction; ``unlinked``: per span without one; ``visits``: per distinct span.

    ``request_operation`` of a span, and ``caller_operation`` of a call, is the name of the span by which the service
    took up the request that it is part of; ``operation`` of a call is the server's, ``client_operation`` the client's.
    """

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
    ids = {name: spans.column(name).combine_chunks() for name in ("trace_id", "span_id", "parent_span_id")}
    return told(linked(spans), ids, spans.column("name").combine_chunks())


def told(found: Linked, ids: Mapping[str, pa.Array], names: pa.Array) -> Links:
    """Return links by position with the ids and operations of the spans there."""
    calls, visits, unlinked = found.calls.table(), found.visits.table(), found.unlinked.table()
    calls = _with(
        calls,
        trace_id=ids["trace_id"].take(calls.column("row")),
        client_span_id=ids["span_id"].take(calls.column("client_row")),
        server_span_id=ids["span_id"].take(calls.column("server_row")),
        caller_operation=names.take(calls.column("caller_request")),
    )
    of_parent = {
        f"parent_{name}": visits.column(name).take(visits.column("parent")) for name in ("operation", "service")
    }
    visits = _with(visits, request_operation=names.take(visits.column("request")))
    visits = _with(visits, **of_parent, **{name: ids[name].take(visits.column("row")) for name in ids})
    unlinked = _with(unlinked, request_operation=names.take(unlinked.column("request")))
    unlinked = _with(unlinked, **{name: ids[name].take(unlinked.column("row")) for name in ("trace_id", "span_id")})
    return Links(
        _sorted(calls, _CALLS, "trace_id start_ns client_span_id server_span_id caller operation queue_ns"),
        _sorted(unlinked, _UNLINKED, "trace_id span_id reason start_ns service"),
        _sorted(visits, _VISITS, "trace_id start_ns span_id kind"),
    )


def linked(spans: pa.Table) -> Linked:
    """Return the same as `link` by the positions of spans."""
    with connect() as database:
        rows, rules = compact(spans, lambda profiles: Rules.of(partial(run_in, database), profiles))
    return link_compact(rows, rules)


def link_compact(rows: Compact, rules: Rules) -> Linked:
    """Return the links of compact spans of whole traces."""
    spans = Spans.of(rows, rules)
    critical, whole = on_path(spans.parent, spans.rows.start_ns, spans.rows.duration_ns, spans.rows.span)
    visits = _visits(spans, rules, critical)
    return Linked(_calls(spans, rules, whole), _unlinked(rows, spans, rules, visits), visits)


def _calls(spans: Spans, rules: Rules, whole_ns: Ints) -> Facts:
    """Return the calls; ``whole_ns`` is how long each span is on the critical path, with what it called."""
    rows, above, stand = spans.rows, spans.above, spans.stand
    arrived, opened = np.flatnonzero(spans.is_arrival), np.flatnonzero(rules.of_stands("is_open")[stand])
    has_parent = spans.has_parent[arrived]
    first, further, batch, message = rules.arrivals(
        stand[arrived], stand[above[arrived]], has_parent, spans.is_repeat[arrived], rows.linked[arrived]
    )
    call = np.concatenate([first, further, rules.departures(stand[opened])])
    arrived = np.concatenate([arrived, arrived[batch]])
    has_parent = np.concatenate([has_parent, has_parent[batch]])
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
            "caller_request": spans.kept[spans.request[client]],
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
            **_attempts(spans, rules, dims, shape, client, server),
        },
        CALL_NUMBERS,
    )


def _attempts(spans: Spans, rules: Rules, dims: pa.Table, shape: Ints, client: Ints, server: Ints) -> dict[str, Ints]:
    """Return whether each call is the first of its request to its callee, a retry, a hedge; of callers' calls alone."""
    found = {name: np.zeros(len(shape), np.int64) for name in ("caller_requests", "retries", "hedges")}
    calls = np.flatnonzero(pc.equal(dims.column("caller_kind"), "service").to_numpy()[shape])
    found["caller_requests"][calls] = 1
    callee = dims.column("callee").combine_chunks()
    pair = spans.request[client[calls]] * len(callee.dictionary)
    pair += callee.indices.to_numpy()[shape[calls]]
    several = shared(pair)
    if not len(several):
        return found
    calls, pair = calls[several], pair[several]
    shape, client, server = shape[calls], client[calls], server[calls]
    flag = {
        name: dims.column(name).to_numpy()[shape]
        for name in ("has_client", "has_server", "client_error", "server_error")
    }
    # Below a client span that several servers answer, each attempt is as long as its server.
    is_answered_often = np.zeros(len(spans.rows), bool)
    is_answered_often[spans.above[spans.is_repeat]] = True
    timed = np.where(flag["has_client"] & ~(is_answered_often[client] & flag["has_server"]), client, server)
    asked, answered = (rules.operation_of[spans.rows.profile[at]] for at in (client, server))
    start_ns, duration_ns = spans.rows.start_ns[timed], spans.rows.duration_ns[timed]
    counts = Attempts(
        pair,
        asked,
        np.where(flag["has_server"], answered, -1),
        start_ns,
        start_ns + duration_ns,
        flag["client_error"] | flag["server_error"],
    ).counts()
    for name, count in counts.items():
        found[name][calls] = count
    return found


def _visits(spans: Spans, rules: Rules, critical_ns: Ints) -> Facts:
    rows, above = spans.rows, spans.above
    start, duration = rows.start_ns, rows.duration_ns
    shape, (stands, profiles) = _combinations(spans.stand, rows.profile)
    return Facts(
        rules.visits(stands, profiles),
        shape,
        {
            "row": spans.kept,
            "parent": above,
            "request": spans.kept[spans.request],
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


def _unlinked(given: Compact, spans: Spans, rules: Rules, visits: Facts) -> Facts:
    dims, shape = visits.dims, visits.shape
    lost = np.flatnonzero(pc.is_valid(dims.column("reason")).to_numpy()[shape])
    copied = rules.profiles.select(["service"])
    copied = copied.append_column("reason", pa.array(["duplicate"] * len(copied), pa.string()))
    return Facts(
        pa.concat_tables([dims.select(["service", "reason"]), copied]),
        np.concatenate([shape[lost], len(dims) + given.profile[spans.copies]]),
        {
            "row": np.concatenate([spans.kept[lost], spans.copies]),
            "request": np.concatenate([spans.kept[spans.request[lost]], spans.copies]),
            "start_ns": np.concatenate([spans.rows.start_ns[lost], given.start_ns[spans.copies]]),
        },
    )


def _timeouts(calls: pa.Table, shape: Ints, client_ns: Ints, server_ns: Ints) -> Ints:
    """Return 1 for each call that its client gave up: it says so, or it failed and its server went on for longer."""
    says, failed, both = (calls.column(name).to_numpy() for name in ("is_timeout", "client_error", "has_server"))
    found: Ints = (says[shape] | ((failed & both)[shape] & (server_ns > client_ns))).astype(np.int64)
    return found


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
