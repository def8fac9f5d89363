"""Rollups: what a window's calls and spans amount to, in 10 s steps that add up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.window import SECOND_NS, Window
from . import grouping, histogram
from .facts import Facts
from .link import CALL_NUMBERS, VISIT_NUMBERS, Linked, Links
from .operations import OTHER, kept_operations

STEP_NS = 10 * SECOND_NS

# Applies a function to each of some tables, as `map` does.
Map = Callable[[Callable[[pa.Table], pa.Table], Iterable[pa.Table]], Iterable[pa.Table]]

_TEXT, _COUNT, _HISTOGRAM = pa.string(), pa.int64(), histogram.TYPE


def _schema(
    keys: dict[str, pa.DataType], counts: str, more_keys: tuple[str, ...] = (), histograms: str = ""
) -> pa.Schema:
    return pa.schema(
        [("time_ns", pa.int64()), *keys.items()]
        + [(name, _COUNT) for name in counts.split()]
        + [(name, _TEXT) for name in more_keys]
        + [(name, _HISTOGRAM) for name in histograms.split()]
    )


EDGES = _schema(
    {"caller": _TEXT, "callee": _TEXT, "callee_kind": _TEXT},
    "count adjusted_milli errors client_errors server_errors http_4xx http_5xx client_count server_count "
    "missing_parents timeouts caller_requests retries hedges critical_ns",
    ("caller_kind",),
    "client_duration server_duration gap queue",
)
OPERATIONS = _schema(
    {"service": _TEXT, "operation": _TEXT, "kind": pa.int8()},
    "count adjusted_milli errors missing_parents critical_ns",
    histograms="duration exclusive",
)
_REPLICA = ["namespace", "version", "environment", "cluster", "pod", "instance", "node"]
INSTANCES = _schema(
    dict.fromkeys(["service", *_REPLICA], _TEXT),
    "count adjusted_milli requests adjusted_requests_milli errors critical_ns",
    histograms="duration exclusive",
)
UNLINKED = _schema({"service": _TEXT, "reason": _TEXT}, "count")


@dataclass(frozen=True, slots=True)
class Rollups:
    """Sums by step, integers and texts only; durations are histograms (`hypocenter.graph.histogram`) in nanoseconds.

    A row of each table belongs to the step ``[time_ns, time_ns + 10 s)`` of its span's or its caller's start, and rows
    are sorted by their key.

    - ``edges``: calls of one caller and callee. ``errors``: calls that failed on either side, ``http_4xx`` and
      ``http_5xx``: those of them that HTTP answered so; ``client_count`` and ``server_count``: calls whose client or
      server side was recorded, the denominators of ``client_errors`` and ``server_errors``; ``gap``: client less server
      duration, negative under clock skew or for asynchronous calls; ``queue``: time in the broker; ``missing_parents``:
      calls whose caller's span was not recorded; ``timeouts``: calls that failed because the client waited no longer;
      ``caller_requests``: the requests of the caller that made the calls, 0 where it is no service; ``retries`` and
      ``hedges`` among the calls (`hypocenter.graph.attempts`); ``critical_ns``: how long calls were on the critical
      paths of their requests (`hypocenter.graph.critical_path`), what they called included.
    - ``operations``: spans of one service, operation and kind (OTLP number, inferred where the data has none);
      ``critical_ns``: time of their own on critical paths, here and by instance, all adding up to the requests'.
    - ``instances``: spans of one replica and version; ``requests``, ``errors`` and ``duration`` are those that came
      from elsewhere, ``adjusted_requests_milli`` thousandths of what these requests stand for, where sampled.
    - ``unlinked``: spans that are no side of a call, by reason. ``edges.client_count + edges.server_count +
      unlinked.count`` is the number of spans.
    """

    edges: pa.Table
    operations: pa.Table
    instances: pa.Table
    unlinked: pa.Table


SCHEMAS: dict[str, pa.Schema] = {
    "edges": EDGES,
    "operations": OPERATIONS,
    "instances": INSTANCES,
    "unlinked": UNLINKED,
}


def empty() -> Rollups:
    """Return the rollups of nothing, which `merge` leaves unchanged."""
    return Rollups(**{name: schema.empty_table() for name, schema in SCHEMAS.items()})


def roll_up(links: Links) -> Rollups:
    """Return the rollups of linked spans; operations beyond the first 200 of a service by spans are ``_other``."""
    visits = links.visits
    named = visits.group_by(["service", "operation"]).aggregate([([], "count_all")]).rename_columns(_NAMED)
    kept = kept_operations(named)
    if not kept.all():
        names = named.set_column(2, "kept", pa.array(kept))
        known = visits.select(["service", "operation"]).append_column("at", pa.array(np.arange(len(visits))))
        found = known.join(names, ["service", "operation"]).sort_by("at")
        operation = pc.if_else(found.column("kept"), found.column("operation"), OTHER)
        visits = visits.set_column(visits.schema.get_field_index("operation"), "operation", operation)
    calls = links.calls.append_column("has_client", pc.is_valid(links.calls.column("client_span_id")))
    calls = calls.append_column("has_server", pc.is_valid(calls.column("server_span_id")))
    calls = calls.append_column("is_queued", pc.is_valid(calls.column("queue_ns")))
    return roll_up_linked(
        Linked(
            Facts.of(calls.select([*_CALL_DIMS, *_CALL_NUMBERS]), _CALL_DIMS, CALL_NUMBERS),
            Facts.of(links.unlinked.select(["service", "reason", "start_ns"]), ["service", "reason"], {}),
            Facts.of(visits.select([*_VISIT_DIMS, *_VISIT_NUMBERS]), _VISIT_DIMS, VISIT_NUMBERS),
        )
    )


_NAMED = ["service", "operation", "spans"]
_CALL_FLAGS = ["has_client", "has_server", "is_queued", "client_error", "server_error", "http_4xx", "http_5xx"]
_CALL_DIMS = ["caller", "caller_kind", "callee", "callee_kind", "matched", *_CALL_FLAGS]
_SUMS = ["adjusted_milli", "timeouts", "caller_requests", "retries", "hedges", "critical_ns"]
_CALL_NUMBERS = ["start_ns", *_SUMS, "client_duration_ns", "server_duration_ns", "queue_ns"]
_VISIT_FLAGS = ["is_error", "is_missing_parent", "is_entry"]
_VISIT_DIMS = ["service", *_REPLICA, "operation", "kind", *_VISIT_FLAGS]
_VISIT_NUMBERS = ["start_ns", "adjusted_milli", "critical_ns", "duration_ns", "exclusive_ns"]


def roll_up_linked(linked: Linked) -> Rollups:
    """Return the rollups of links as facts; their operations are already told apart or not."""
    calls, visits = linked.calls, linked.visits
    client_error, server_error = calls.flag("client_error"), calls.flag("server_error")
    has_client, has_server = calls.flag("has_client"), calls.flag("has_server")
    client, server = calls.numbers["client_duration_ns"], calls.numbers["server_duration_ns"]
    is_entry, is_error, every = visits.flag("is_entry"), visits.flag("is_error"), np.ones(len(visits.dims), bool)
    duration, exclusive = (histogram.buckets(visits.numbers[name]) for name in ("duration_ns", "exclusive_ns"))
    visit_cells = _Cells.of_facts(visits)
    return Rollups(
        edges=_grouped(
            EDGES,
            calls,
            _Cells.of_facts(calls),
            {
                "count": np.ones(len(calls.dims), bool),
                "errors": client_error | server_error,
                "client_errors": client_error,
                "server_errors": server_error,
                "http_4xx": calls.flag("http_4xx"),
                "http_5xx": calls.flag("http_5xx"),
                "client_count": has_client,
                "server_count": has_server,
                "missing_parents": pc.equal(calls.dims.column("matched"), "missing-parent").to_numpy(),
            },
            {
                "client_duration": (histogram.buckets(client), has_client),
                "server_duration": (histogram.buckets(server), has_server),
                "gap": (histogram.buckets(client - server), has_client & has_server),
                "queue": (histogram.buckets(calls.numbers["queue_ns"]), calls.flag("is_queued")),
            },
        ),
        operations=_grouped(
            OPERATIONS,
            visits,
            visit_cells,
            {"count": every, "errors": is_error, "missing_parents": visits.flag("is_missing_parent")},
            {"duration": (duration, every), "exclusive": (exclusive, every)},
        ),
        instances=_grouped(
            INSTANCES,
            visits,
            visit_cells,
            {"count": every, "requests": is_entry, "errors": is_entry & is_error},
            {"duration": (duration, is_entry), "exclusive": (exclusive, every)},
            {"adjusted_requests_milli": ("adjusted_milli", is_entry)},
        ),
        unlinked=_grouped(
            UNLINKED,
            linked.unlinked,
            _Cells.of_facts(linked.unlinked),
            {"count": np.ones(len(linked.unlinked.dims), bool)},
            {},
        ),
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    """Rows of facts that share step and shape: ``of`` is the cell of each row, all else a value per cell."""

    of: np.ndarray
    step: np.ndarray
    shape: np.ndarray
    rows: np.ndarray

    @classmethod
    def of_facts(cls, facts: Facts) -> _Cells:
        step = facts.numbers["start_ns"] // STEP_NS
        first, shapes = int(step.min()) if len(step) else 0, max(1, len(facts.dims))
        of, distinct = pd.factorize((step - first) * shapes + facts.shape)
        rows = np.bincount(of, minlength=len(distinct))
        return cls(of, distinct // shapes + first, distinct % shapes, rows)


def _grouped(
    schema: pa.Schema,
    facts: Facts,
    cells: _Cells,
    counts: dict[str, np.ndarray],
    histograms: dict[str, tuple[np.ndarray, np.ndarray]],
    partial_sums: Mapping[str, tuple[str, np.ndarray]] = MappingProxyType({}),
) -> pa.Table:
    """Return facts added up by step and the keys of ``schema``.

    ``counts`` are flags of the shapes; ``histograms`` are buckets a row, and the flag of the shapes that counts them;
    ``partial_sums`` are names of numbers, and the flag of the shapes of which they are added up.
    """
    # Keys are compared once a shape; a row's group follows from its cell's step and shape.
    names = [name for name in _keys(schema) if name != "time_ns"]
    kinds, keys = grouping.group({name: facts.dims.column(name) for name in names})
    radix = max(1, len(keys[names[0]]))
    groups, distinct = pd.factorize(cells.step * radix + kinds[cells.shape], sort=True)
    found: dict[str, Any] = {name: keys[name].take(pa.array(distinct % radix)) for name in names}
    found["time_ns"] = pa.array(distinct // radix * STEP_NS)
    size = len(distinct)
    for name, flag in counts.items():
        found[name] = grouping.sums(groups, size, np.where(flag[cells.shape], cells.rows, 0))
    row_groups = groups[cells.of]
    for name in _SUMS:
        if name in schema.names:
            found[name] = grouping.sums(row_groups, size, facts.numbers[name])
    for name, (number, flag) in partial_sums.items():
        found[name] = grouping.sums(row_groups, size, np.where(flag[facts.shape], facts.numbers[number], 0))
    for name, (buckets, flag) in histograms.items():
        at = slice(None) if flag.all() else np.flatnonzero(flag[facts.shape])
        found[name] = grouping.histograms_of(row_groups[at], size, buckets[at])
    return pa.table({name: found[name] for name in schema.names}).cast(schema)


def merge(rollups: Iterable[Rollups], each: Map = map) -> Rollups:
    """Return the sum of rollups, in any order and grouping of them the same.

    ``each`` may be the `map` of a pool, which sums the tables at the same time.
    """
    together = joined(list(rollups))
    summed = each(_summed, [getattr(together, name) for name in SCHEMAS])
    return Rollups(**dict(zip(SCHEMAS, summed, strict=True)))


def to_steps(rollups: Rollups, step_ns: int) -> Rollups:
    """Return the rollups in longer steps, multiples of 10 s (a minute, an hour); else ValueError."""
    if step_ns <= 0 or step_ns % STEP_NS:
        raise ValueError(f"expected a multiple of {STEP_NS} ns, got {step_ns}")
    tables = {}
    for name in SCHEMAS:
        table = getattr(rollups, name)
        times = table.column("time_ns").to_numpy()
        tables[name] = _summed(table.set_column(0, table.schema.field(0), pa.array(times - times % step_ns)))
    return Rollups(**tables)


def totals(rollups: Rollups, window: Window) -> Rollups:
    """Return one row per key for the steps that start in ``window``, its ``time_ns`` being the window's start."""
    tables = {}
    for name in SCHEMAS:
        table = getattr(within(rollups, window), name)
        times = pa.array(np.full(len(table), window.start_ns))
        tables[name] = _summed(table.set_column(0, table.schema.field(0), times))
    return Rollups(**tables)


def within(rollups: Rollups, window: Window) -> Rollups:
    """Return the steps that start in ``window``."""
    return Rollups(**{name: cut(getattr(rollups, name), window) for name in SCHEMAS})


def split(rollups: Rollups, time_ns: int) -> tuple[Rollups, Rollups]:
    """Return the steps before ``time_ns`` and those from it on."""
    before, after = {}, {}
    for name in SCHEMAS:
        table = getattr(rollups, name)
        first = int(np.searchsorted(table.column("time_ns").to_numpy(), time_ns))
        before[name], after[name] = table.slice(0, first), table.slice(first)
    return Rollups(**before), Rollups(**after)


def joined(parts: Sequence[Rollups]) -> Rollups:
    """Return the rows of all, one part after the other; parts that have no step in common need no more adding."""
    tables = {
        name: pa.concat_tables([schema.empty_table(), *(getattr(part, name) for part in parts)])
        for name, schema in SCHEMAS.items()
    }
    return Rollups(**tables)


def cut(table: pa.Table, window: Window) -> pa.Table:
    """Return the rows of one table of rollups whose steps start in ``window``."""
    times = table.column("time_ns").to_numpy()
    return table.filter(pa.array((times >= window.start_ns) & (times < window.end_ns)))


def _keys(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if field.type == _TEXT or field.name in ("time_ns", "kind")]


def _summed(table: pa.Table) -> pa.Table:
    """Return ``table`` with one row per key: counts added, histograms added bucket by bucket."""
    groups, _ = grouping.group({name: table.column(name) for name in _keys(table.schema)})
    # Neighbouring parts share few keys; the rows that are alone need no adding.
    is_alone = np.bincount(groups)[groups] == 1
    alone, several = np.flatnonzero(is_alone), np.flatnonzero(~is_alone)
    whole = pa.concat_tables([table.take(pa.array(alone)), _added(table.take(pa.array(several)))])
    order = np.argsort(np.concatenate([groups[alone], np.unique(groups[several])]))
    return whole.take(pa.array(order))


def _added(table: pa.Table) -> pa.Table:
    schema = table.schema
    groups, found = grouping.group({name: table.column(name) for name in _keys(schema)})
    size = len(found["time_ns"])
    for field in schema:
        if field.name not in found:
            column = table.column(field.name)
            found[field.name] = (
                grouping.histograms(groups, size, grouping.entries(column))
                if field.type == _HISTOGRAM
                else grouping.sums(groups, size, column.to_numpy())
            )
    return pa.table({name: found[name] for name in schema.names}).cast(schema)
