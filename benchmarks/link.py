"""Linking and rolling up against the bare self-join it contains, and against a notebook of pandas and networkx."""

from __future__ import annotations

import importlib.util
import tempfile
from typing import Any

import duckdb
import networkx as nx
import pandas as pd

from hypocenter.graph.cache import fill
from hypocenter.graph.compact import COLUMNS
from hypocenter.graph.engine import DuckDB
from hypocenter.graph.queries import connect
from hypocenter.graph.segments import batches
from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.store import Store

from .generate import temporary_store
from .measure import Measurement, measure

DESCRIPTION = (
    "link and roll up spans: against the bare parent self-join, the scan, Polars, naive pandas; growth, peak memory"
)

# A notebook holds every span as Python objects, Polars every id of them in memory; beyond these they show nothing new.
_NAIVE_SPANS, _MOST_BESIDE_A_NOTEBOOK, _MOST_IN_POLARS = 3_000_000, 10_000_000, 20_000_000
# More are rolled up hour by hour, as upkeep and batch passes do with any number.
_MOST_AT_ONCE = 100_000_000
# What a self-join over many spans may spill.
_SPILL_LIMIT = "30GB"
_BARE_JOIN = """
    with spans as (
        select trace_id, span_id, parent_span_id, service, start_ns from read_parquet(?)
    )
    select p.service as caller, c.service as callee, c.start_ns - c.start_ns % 60000000000 as minute, count(*) as calls
    from spans c join spans p on c.trace_id = p.trace_id and c.parent_span_id = p.span_id
    where c.service <> p.service
    group by all
"""
_BARE_JOIN_IS = "one DuckDB query, default threads: join on both ids, other service only, count by services and minute"


def run(spans: int = 1_000_000) -> dict[str, Any]:
    """Return spans per second, ratios and peak memory at ``spans`` generated spans, in arrival order and interleaved.

    The bare self-join is one DuckDB query that counts per caller, callee and minute, with all the memory it wants and
    30 GB of disk; Polars does the same where it is installed. The limit is the scan of the columns that linking reads.
    Each measurement is a process of its own that reads the same segments; the least of two counts: of five up to a
    million spans, which a busy moment would decide, and one beyond a hundred million, which it does not. All segments
    are removed at the end, whatever happens.
    """
    link = roll_up if spans <= _MOST_AT_ONCE else roll_up_by_hours
    with temporary_store(spans // 2) as half_store:
        half = measure(link, path=str(half_store.path))
    with temporary_store(spans) as store:
        path = str(store.path)
        # The first reading of files just written is not what is measured.
        bare, ours, polars, scanned = (
            min(
                (measure(function, path=path) for _ in range(_times(spans))),
                key=lambda found: found.seconds,
            )
            for function in (bare_join, link, polars_join, scan)
        )
    figures = {
        "spans": spans,
        "link and roll up": _figures(ours, spans),
        "bare self-join": "more than 30 GB to spill" if bare.result is None else _figures(bare, spans),
        "bare self-join is": _BARE_JOIN_IS,
        "Polars": _no_polars(spans) if polars.result is None else _figures(polars, spans),
        "ratio to bare self-join": None if bare.result is None else bare.seconds / ours.seconds,
        "ratio to bare self-join, cpu": None if bare.result is None else bare.cpu_seconds / ours.cpu_seconds,
        "scan of the columns, the limit": _figures(scanned, spans),
        "times the scan": ours.seconds / scanned.seconds,
        "times the scan, cpu": ours.cpu_seconds / scanned.cpu_seconds,
        "growth per doubling": ours.seconds / half.seconds,
    }
    if spans > _MOST_BESIDE_A_NOTEBOOK:
        return figures
    few = min(spans, _NAIVE_SPANS)
    with temporary_store(few) as store:
        naive, same = (measure(function, path=str(store.path)) for function in (notebook, roll_up))
    figures["notebook"] = _figures(naive, few)
    figures["times faster than notebook"] = naive.seconds / same.seconds
    return figures


def _figures(found: Measurement, spans: int) -> dict[str, Any]:
    return {
        "seconds": found.seconds,
        "cpu seconds": found.cpu_seconds,
        "spans per second": spans / found.seconds,
        "peak MB": found.peak_rss_bytes / 1e6,
        "rows": found.result,
    }


def _times(spans: int) -> int:
    return 5 if spans <= 1_000_000 else 2 if spans <= _MOST_AT_ONCE else 1


def _no_polars(spans: int) -> str:
    return "not installed: pip install --group benchmarks" if spans <= _MOST_IN_POLARS else "takes too much memory"


def roll_up(path: str) -> int:
    """Link and roll up a store; return the number of edge rows."""
    return roll_up_segments(Store(path).paths("spans")).edges.num_rows


def roll_up_by_hours(path: str) -> int:
    """Link and roll up a store hour by hour, each kept in it; return the number of hours."""
    store = Store(path)
    window = store.bounds("spans")
    with connect() as database:
        return 0 if window is None else fill(store, window, DuckDB(database))


def scan(path: str) -> int:
    """Read the columns that linking needs, and let go of them; return the number of spans."""
    return sum(len(batch) for batch in batches(Store(path).paths("spans"), None, COLUMNS))


def bare_join(path: str) -> int | None:
    """Count calls by caller, callee and minute in one query; return the number of rows, None without room to spill."""
    with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as spill:
        settings: dict[str, Any] = {"temp_directory": spill, "max_temp_directory_size": _SPILL_LIMIT}
        with duckdb.connect(config=settings) as connection:
            try:
                return len(connection.execute(_BARE_JOIN, [Store(path).paths("spans")]).fetchall())
            except duckdb.OutOfMemoryException:
                return None


def polars_join(path: str) -> int | None:
    """Count the same in Polars' streaming engine; return the number of rows, None where it cannot be run."""
    if (
        importlib.util.find_spec("polars") is None
        or sum(s.rows for s in Store(path).segments("spans")) > _MOST_IN_POLARS
    ):
        return None
    pl = importlib.import_module("polars")
    columns = ["trace_id", "span_id", "parent_span_id", "service", "start_ns"]
    spans = pl.scan_parquet(Store(path).paths("spans")).select(columns)
    parents = spans.select("trace_id", pl.col("span_id").alias("parent_span_id"), pl.col("service").alias("caller"))
    calls = spans.join(parents, on=["trace_id", "parent_span_id"]).filter(pl.col("caller") != pl.col("service"))
    minute = pl.col("start_ns") - pl.col("start_ns") % 60_000_000_000
    counted = calls.group_by("caller", "service", minute.alias("minute")).len()
    return int(counted.collect(engine="streaming").height)


def notebook(path: str) -> int:
    """Build the same graph as a notebook would, a span at a time; return the number of edges and operations."""
    spans: pd.DataFrame = Store(path).read("spans").drop_columns(["attributes", "resource", "links"]).to_pandas()
    spans = spans.drop_duplicates(["trace_id", "span_id"])
    graph, operations = nx.MultiDiGraph(), {}
    for _, trace in spans.groupby("trace_id"):
        by_id = {span.span_id: span for span in trace.itertuples()}
        children: dict[str, list[Any]] = {}
        for span in by_id.values():
            children.setdefault(span.parent_span_id, []).append(span)
        for span in by_id.values():
            minute = span.start_ns // 60_000_000_000
            own = operations.setdefault((span.service, span.name, minute), {"count": 0, "own": [], "durations": []})
            own["count"] += 1
            own["durations"].append(span.duration_ns)
            own["own"].append(span.duration_ns - sum(child.duration_ns for child in children.get(span.span_id, [])))
            parent = by_id.get(span.parent_span_id)
            if parent is not None and parent.service != span.service:
                _call(graph, parent.service, span.service, minute, parent, span)
            elif span.kind in (3, 4) and (span.db_name or span.messaging_destination):
                _call(graph, span.service, span.peer_address or span.messaging_destination, minute, span, None)
    edges = pd.DataFrame([data for _, _, data in graph.edges(data=True)])
    for column in ("client", "server", "gap"):
        edges[f"p95_{column}"] = edges[column].map(lambda found: pd.Series(found, dtype=float).quantile(0.95))
    table = pd.DataFrame(operations.values())
    for column in ("own", "durations"):
        table[f"p95_{column}"] = table[column].map(lambda found: pd.Series(found).quantile(0.95))
    return len(edges) + len(table)


def _call(graph: nx.MultiDiGraph, caller: str, callee: str, minute: int, client: Any, server: Any) -> None:
    if not graph.has_edge(caller, callee, key=minute):
        graph.add_edge(caller, callee, key=minute, count=0, errors=0, client=[], server=[], gap=[])
    data = graph.edges[caller, callee, minute]
    data["count"] += 1
    data["errors"] += client.status == 2 or (server is not None and server.status == 2)
    data["client"].append(client.duration_ns)
    if server is not None:
        data["server"].append(server.duration_ns)
        data["gap"].append(client.duration_ns - server.duration_ns)
