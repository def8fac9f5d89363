"""Rollups: what a window's calls and spans amount to, in 10 s steps that add up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.window import SECOND_NS, Window
from . import grouping, histogram
from .link import Links
from .operations import OTHER, kept_operations

STEP_NS = 10 * SECOND_NS

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
    "count adjusted_milli errors client_errors server_errors client_count server_count missing_parents",
    ("caller_kind",),
    "client_duration server_duration gap queue",
)
OPERATIONS = _schema(
    {"service": _TEXT, "operation": _TEXT, "kind": pa.int8()},
    "count adjusted_milli errors missing_parents",
    histograms="duration exclusive",
)
INSTANCES = _schema(
    {"service": _TEXT, "namespace": _TEXT, "pod": _TEXT, "instance": _TEXT, "node": _TEXT},
    "count adjusted_milli requests errors",
    histograms="duration exclusive",
)
UNLINKED = _schema({"service": _TEXT, "reason": _TEXT}, "count")


@dataclass(frozen=True, slots=True)
class Rollups:
    """Sums by step, integers and texts only; durations are histograms (`hypocenter.graph.histogram`) in nanoseconds.

    A row of each table belongs to the step ``[time_ns, time_ns + 10 s)`` of its span's or its caller's start, and rows
    are sorted by their key.

    - ``edges``: calls of one caller and callee. ``errors``: calls that failed on either side; ``client_count`` and
      ``server_count``: calls whose client or server side was recorded, the denominators of ``client_errors`` and
      ``server_errors``; ``gap``: client less server duration, negative under clock skew or for asynchronous calls;
      ``queue``: time in the broker; ``missing_parents``: calls whose caller's span was not recorded.
    - ``operations``: spans of one service, operation and kind (OTLP number, inferred where the data has none).
    - ``instances``: spans of one replica; ``requests``, ``errors`` and ``duration`` are those that came from elsewhere.
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
    calls, visits, unlinked = links.calls, links.visits, links.unlinked
    client, server = (_numbers(calls, f"{side}_duration_ns") for side in ("client", "server"))
    client_error, server_error = (_flags(calls, f"{side}_error") for side in ("client", "server"))
    is_entry, is_error = _flags(visits, "is_entry"), _flags(visits, "is_error")
    return Rollups(
        edges=_grouped(
            EDGES,
            calls,
            {
                "count": np.ones(len(calls), bool),
                "errors": client_error | server_error,
                "client_errors": client_error,
                "server_errors": server_error,
                "client_count": client.is_valid().to_numpy(),
                "server_count": server.is_valid().to_numpy(),
                "missing_parents": pc.equal(calls.column("matched"), "missing-parent").to_numpy(),
            },
            {
                "client_duration": client,
                "server_duration": server,
                "gap": pc.subtract(client, server),
                "queue": _numbers(calls, "queue_ns"),
            },
        ),
        operations=_grouped(
            OPERATIONS,
            visits.set_column(visits.schema.get_field_index("operation"), "operation", _kept_operations(visits)),
            {
                "count": np.ones(len(visits), bool),
                "errors": is_error,
                "missing_parents": _flags(visits, "is_missing_parent"),
            },
            {"duration": _numbers(visits, "duration_ns"), "exclusive": _numbers(visits, "exclusive_ns")},
        ),
        instances=_grouped(
            INSTANCES,
            visits,
            {"count": np.ones(len(visits), bool), "requests": is_entry, "errors": is_entry & is_error},
            {
                "duration": pc.if_else(
                    pa.array(is_entry), _numbers(visits, "duration_ns"), pa.scalar(None, pa.int64())
                ),
                "exclusive": _numbers(visits, "exclusive_ns"),
            },
        ),
        unlinked=_grouped(UNLINKED, unlinked, {"count": np.ones(len(unlinked), bool)}, {}),
    )


def _grouped(
    schema: pa.Schema, table: pa.Table, counts: dict[str, np.ndarray], histograms: dict[str, pa.ChunkedArray]
) -> pa.Table:
    """Return the rows of ``table`` added up by the keys of ``schema`` and step."""
    start = table.column("start_ns").to_numpy()
    columns = {name: table.column(name) for name in _keys(schema) if name != "time_ns"}
    groups, keys = grouping.group({"time_ns": pa.array(start - start % STEP_NS), **columns})
    size = len(keys["time_ns"])
    if "adjusted_milli" in schema.names:
        counts["adjusted_milli"] = table.column("adjusted_milli").to_numpy()
    found = {**keys}
    found |= {name: grouping.sums(groups, size, values) for name, values in counts.items()}
    found |= {name: grouping.histograms_of(groups, size, values) for name, values in histograms.items()}
    return pa.table({name: found[name] for name in schema.names}).cast(schema)


def _flags(table: pa.Table, name: str) -> np.ndarray:
    flags: np.ndarray = table.column(name).to_numpy()
    return flags


def _numbers(table: pa.Table, name: str) -> pa.ChunkedArray:
    return table.column(name)


def _kept_operations(visits: pa.Table) -> pa.ChunkedArray:
    """Return the operations, those beyond the first of each service renamed."""
    pairs, names = grouping.group({name: visits.column(name) for name in ("service", "operation")})
    kept = kept_operations(pa.table({**names, "spans": np.bincount(pairs, minlength=len(names["service"]))}))
    if kept.all():
        return visits.column("operation")
    return pc.if_else(pa.array(kept[pairs]), visits.column("operation").cast(_TEXT), OTHER)


def merge(rollups: Iterable[Rollups]) -> Rollups:
    """Return the sum of rollups, in any order and grouping of them the same."""
    parts = list(rollups)
    tables = {
        name: pa.concat_tables([schema.empty_table(), *(getattr(part, name) for part in parts)])
        for name, schema in SCHEMAS.items()
    }
    return Rollups(**{name: _summed(table) for name, table in tables.items()})


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


def cut(table: pa.Table, window: Window) -> pa.Table:
    """Return the rows of one table of rollups whose steps start in ``window``."""
    times = table.column("time_ns").to_numpy()
    return table.filter(pa.array((times >= window.start_ns) & (times < window.end_ns)))


def _keys(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if field.type == _TEXT or field.name in ("time_ns", "kind")]


def _summed(table: pa.Table) -> pa.Table:
    """Return ``table`` with one row per key: counts added, histograms added bucket by bucket."""
    schema = table.schema
    groups, found = grouping.group({name: table.column(name) for name in _keys(schema)})
    size = len(found["time_ns"])
    if size == len(table):
        return table.take(pa.array(np.argsort(groups)))
    for field in schema:
        if field.name not in found:
            column = table.column(field.name)
            found[field.name] = (
                grouping.histograms(groups, size, grouping.entries(column))
                if field.type == _HISTOGRAM
                else grouping.sums(groups, size, column.to_numpy())
            )
    return pa.table({name: found[name] for name in schema.names}).cast(schema)
