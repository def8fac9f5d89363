"""The graph of a day from kept rollups, at two levels of traffic: counts alone, and with quantiles."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hypocenter.graph import cache, grouping, histogram
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.rollup import SCHEMAS, Rollups
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, SECOND_NS, Window

from .generate import START_NS
from .measure import measure

DESCRIPTION = "a day's graph of 1,000 services from kept rollups: counts, quantiles, at two levels of traffic"

_FIRST_NS = START_NS // HOUR_NS * HOUR_NS
_OPERATIONS, _REPLICAS = 10, 3
_KINDS = ("service", "service", "service", "database", "cache", "messaging")
# Buckets of durations around a few milliseconds.
_BUCKETS = np.arange(histogram.bucket(200_000), histogram.bucket(2 * SECOND_NS))
_REPETITIONS = 5


def run(services: int = 1000, hours: int = 24, calls: int = 1_000_000, times: int = 100) -> dict[str, Any]:
    """Return the seconds that a window's graph takes in a process that has done so before, least of five.

    ``calls`` in an hour are the lower traffic, ``times`` as many the higher. Rollups are laid down as the cache keeps
    them, without the spans that they would come from: the window is of whole hours that are kept.
    """
    figures: dict[str, Any] = {"services": services, "hours": hours}
    for traffic in (calls, calls * times):
        with rolled_up_store(services, hours, traffic) as store:
            window = Window(_FIRST_NS, _FIRST_NS + hours * HOUR_NS)
            arguments = {"path": str(store.path), "start_ns": window.start_ns, "end_ns": window.end_ns}
            counts, whole = (measure(graph, **arguments, durations_of=names) for names in ([], ["edges"]))
        figures[f"at {traffic:,} calls an hour"] = {
            "edges": whole.result["edges"],
            "calls": whole.result["calls"],
            "counts, seconds": counts.result["seconds"],
            "with quantiles, seconds": whole.result["seconds"],
            "with quantiles, peak MB": whole.peak_rss_bytes / 1e6,
        }
    return figures


def graph(path: str, start_ns: int, end_ns: int, durations_of: list[str]) -> dict[str, Any]:
    """Return the least time of reading a graph and its edges, with how many edges and calls it has."""
    import time

    seconds = []
    for _ in range(_REPETITIONS):
        begun = time.perf_counter()
        found = DependencyGraph.read(
            Store(Path(path)), Window(start_ns, end_ns), coarse=True, durations_of=durations_of
        )
        edges = found.edges
        seconds.append(time.perf_counter() - begun)
    return {"seconds": min(seconds), "edges": len(edges), "calls": int(edges["count"].sum())}


@contextmanager
def rolled_up_store(services: int, hours: int, calls: int) -> Iterator[Store]:
    """Yield a temporary store with a span an hour, and the rollups of an invented system under the hours' keys."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as folder:
        store = Store(Path(folder) / "store", create=True)
        starts = [_FIRST_NS + hour * HOUR_NS for hour in range(hours + 1)]
        for start_ns in starts:
            span = dict.fromkeys(SPANS.names) | {"trace_id": "t", "span_id": "s", "service": "service-0", "kind": 2}
            span |= {"name": "get", "status": 0, "start_ns": start_ns + HOUR_NS // 2, "duration_ns": 1}
            rows = pa.Table.from_pylist([span | {"adjusted_milli": 1000, "source": "benchmarks"}], SPANS)
            store.append(Batch({"spans": rows}), arrived_ns=start_ns + HOUR_NS // 2)
        hour = hour_of(services, calls, rng)
        for start_ns in starts[:-1]:
            kept = cache.kept_of(store, Window(start_ns, start_ns + HOUR_NS))
            assert kept is not None
            kept.write(_at(hour, start_ns))
        yield store


def hour_of(services: int, calls: int, rng: np.random.Generator) -> Rollups:
    """Return rollups of an hour: about four callees a service, operations and replicas, all in one step."""
    every = np.array([f"service-{number}" for number in range(services)])
    pairs = np.unique(np.random.default_rng(1).integers(services, size=(4 * services, 2)), axis=0)
    kinds = np.array(_KINDS)[pairs[:, 1] % len(_KINDS)]
    edges = {"caller": every[pairs[:, 0]], "callee": every[pairs[:, 1]], "callee_kind": kinds}
    operations = {
        "service": np.repeat(every, _OPERATIONS),
        "operation": np.tile(np.arange(_OPERATIONS).astype(str), services),
    }
    replicas = {"service": np.repeat(every, _REPLICAS), "pod": np.tile(np.arange(_REPLICAS).astype(str), services)}
    return Rollups(
        edges=_table("edges", edges | {"caller_kind": np.full(len(kinds), "service")}, calls, rng),
        operations=_table("operations", operations | {"kind": np.full(len(every) * _OPERATIONS, 2)}, calls, rng),
        instances=_table("instances", replicas, calls, rng),
        unlinked=_table("unlinked", {"service": every, "reason": np.full(services, "in-process")}, calls, rng),
    )


def _at(hour: Rollups, start_ns: int) -> Rollups:
    """Return the same rollups in another hour."""
    tables = {name: getattr(hour, name) for name in SCHEMAS}
    for name, table in tables.items():
        tables[name] = table.set_column(0, table.schema.field(0), pa.array(np.full(len(table), start_ns)))
    return Rollups(**tables)


def _table(name: str, keys: dict[str, Any], calls: int, rng: np.random.Generator) -> pa.Table:
    """Return a table of rollups: ``calls`` over its rows, a hundredth of them in each other column of counts."""
    schema, rows = SCHEMAS[name], len(next(iter(keys.values())))
    weight = rng.lognormal(0, 1, rows)
    count = np.maximum(1, calls * weight / weight.sum()).astype(np.int64)
    shape = np.exp(-0.5 * ((_BUCKETS - _BUCKETS.mean()) / 16) ** 2)
    shape /= shape.sum()
    columns = dict(keys) | {"time_ns": np.zeros(rows, np.int64)}
    for field in schema:
        if field.type == histogram.TYPE:
            found = rng.poisson(np.outer(count, shape))
            row, at = np.nonzero(found)
            columns[field.name] = grouping.histograms(np.arange(rows), rows, (row, _BUCKETS[at], found[row, at]))
        elif field.name not in columns:
            is_text = field.type == pa.string()
            columns[field.name] = pa.nulls(rows, field.type) if is_text else count // 100
    columns |= {name: count for name in ("count", "client_count", "server_count") if name in schema.names}
    return pa.table({field.name: columns[field.name] for field in schema}).cast(schema)
