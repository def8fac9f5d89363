"""Rollups: what a window's calls and spans amount to, in 10 s steps that add up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import duckdb
import pyarrow as pa

from ..tracer.window import SECOND_NS, Window
from . import histogram
from .engine import connect, query
from .link import Links

STEP_NS = 10 * SECOND_NS
OPERATIONS_PER_SERVICE = 200
OTHER = "_other"

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
    """Return the rollups of linked spans."""
    with connect() as connection:
        connection.register("calls", links.calls)
        connection.register("visits", links.visits)
        connection.register("unlinked", links.unlinked)
        return roll_up_in(connection)


def roll_up_in(connection: duckdb.DuckDBPyConnection) -> Rollups:
    """Return the rollups of the tables ``calls``, ``visits`` and ``unlinked`` of a connection."""
    queries = {"edges": "edges", "operations": "operations", "instances": "instances", "unlinked": "unlinked_counts"}
    found = {}
    for name, text in queries.items():
        keys = ", ".join(_keys(SCHEMAS[name]))
        table = connection.sql(f"select * from ({query(text)}) order by {keys}").to_arrow_table()
        found[name] = table.select(SCHEMAS[name].names).cast(SCHEMAS[name])
    return Rollups(**found)


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
    for field in fields(rollups):
        table = getattr(rollups, field.name)
        times = table.column("time_ns").to_numpy()
        tables[field.name] = table.set_column(0, table.schema.field(0), pa.array(times - times % step_ns))
    return Rollups(**{name: _summed(table) for name, table in tables.items()})


def totals(rollups: Rollups, window: Window) -> Rollups:
    """Return one row per key for a window, its ``time_ns`` being the window's start.

    Only whole steps count: a step belongs to the window that holds its start.
    """
    tables = {}
    for field in fields(rollups):
        table = cut(getattr(rollups, field.name), window)
        times = pa.array([window.start_ns] * table.num_rows, pa.int64())
        tables[field.name] = table.set_column(0, table.schema.field(0), times)
    return Rollups(**{name: _summed(table) for name, table in tables.items()})


def cut(table: pa.Table, window: Window) -> pa.Table:
    """Return the rows of the steps that start in ``window``."""
    times = table.column("time_ns").to_numpy()
    return table.filter(pa.array((times >= window.start_ns) & (times < window.end_ns)))


def _keys(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if field.type == _TEXT or field.name in ("time_ns", "kind")]


def _summed(table: pa.Table) -> pa.Table:
    """Return ``table`` with one row per key: counts added, histograms added bucket by bucket."""
    schema = table.schema
    keys = _keys(schema)
    key = ", ".join(keys)
    histograms = [field.name for field in schema if field.type == _HISTOGRAM]
    counts = [name for name in schema.names if name not in keys and name not in histograms]
    sums = ", ".join(f"cast(sum({name}) as bigint) as {name}" for name in counts)
    with connect() as connection:
        connection.register("parts", table)
        added = f"select {key}, {sums} from parts group by {key}"
        for name in histograms:
            # One histogram at a time bounds memory by the widest.
            added = f"""
                select s.*, coalesce(h.{name}, []) as {name} from ({added}) s left join (
                    select {key}, list({{'bucket': bucket, 'count': n}} order by bucket) as {name} from (
                        select {key}, entry.bucket as bucket, cast(sum(entry.count) as bigint) as n
                        from (select {key}, unnest({name}) as entry from parts) group by {key}, entry.bucket)
                    group by {key}) h
                on {" and ".join(f"s.{k} is not distinct from h.{k}" for k in keys)}"""
        merged = connection.sql(f"select * from ({added}) order by {key}").to_arrow_table()
    return merged.select(schema.names).cast(schema)
