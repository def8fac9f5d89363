"""Rolling up on DuckDB and on a Spark cluster, against a query written by hand in PySpark and against pandas."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from hypocenter.graph.slices import roll_up_segments

from .generate import temporary_store
from .link import notebook
from .spark_cluster import running, settings

DESCRIPTION = (
    "roll up on DuckDB and on a Spark cluster: CPU seconds a million spans, growth, against hand-written PySpark"
)

# A notebook holds every span as Python objects.
_PANDAS_SPANS = 3_000_000


def run(spans: int = 1_000_000, workers: int = 2) -> dict[str, Any]:
    """Return seconds and CPU seconds of all processes at half of ``spans`` and at ``spans``, each after a first run.

    The hand-written query joins spans to their parents, decides kinds in a few ``when``, and counts calls, errors and
    buckets of duration per edge and step: it has neither the rules for odd spans nor operations, instances and
    exclusive times. The cluster is a master and workers of one core on this machine; its start and the first run are
    apart.
    """
    figures: dict[str, Any] = {"spans": spans, "load before": os.getloadavg()[0]}
    with temporary_store(spans // 2) as half, temporary_store(spans) as store:
        small, large = half.paths("spans"), store.paths("spans")
        roll_up_segments(small)
        figures["DuckDB"] = _compared(lambda paths: roll_up_segments(paths), small, large, spans)
        with TemporaryDirectory(prefix="hypocenter-benchmark-") as folder:
            clock = time.perf_counter()
            with running(Path(folder), workers) as cluster:
                figures["start-up"] = {"cluster seconds": time.perf_counter() - clock}
                _on_spark(cluster.url, small, large, spans, figures)
        if spans <= _PANDAS_SPANS:
            figures["pandas and networkx"] = _per_million(_timed(lambda: notebook(str(store.path))), spans)
    ours, theirs, one = (figures[name]["cpu seconds a million spans"] for name in ("Spark", "hand-written", "DuckDB"))
    figures["Spark, times DuckDB's cpu"] = ours / one
    figures["Spark, times the hand-written query's cpu"] = ours / theirs
    figures["Spark, times the hand-written query's time"] = (
        figures["Spark"]["seconds"] / figures["hand-written"]["seconds"]
    )
    return figures


def _on_spark(url: str, small: list[str], large: list[str], spans: int, figures: dict[str, Any]) -> None:
    from hypocenter.graph.spark import Spark, spark_engine

    cpu, clock = _cpu_s(), time.perf_counter()
    with spark_engine(url, settings("1g")) as engine:
        assert isinstance(engine, Spark)
        session_s = time.perf_counter() - clock
        first = _timed(lambda: engine.roll_up(small))
        figures["start-up"] |= {"session seconds": session_s, "first run, half": first, "cpu seconds": _cpu_s() - cpu}
        figures["Spark"] = _compared(engine.roll_up, small, large, spans)
        figures["Spark"]["peak MB a Python worker"] = max(_worker_rss_mb(), default=None)
        hand_written(engine.session, small)
        figures["hand-written"] = _compared(lambda paths: hand_written(engine.session, paths), small, large, spans)


def hand_written(session: Any, paths: list[str]) -> int:
    """Count calls per edge and step as one would by hand in PySpark; return the number of rows."""
    from pyspark.sql import functions as f

    # Left to itself it sends one side of a join to all, and a driver of 1 GB ends at 2 million spans.
    session.conf.set("spark.sql.autoBroadcastJoinThreshold", -1)
    columns = ["trace_id", "span_id", "parent_span_id", "service", "kind", "status", "start_ns", "duration_ns"]
    peers = ["peer_service", "peer_address", "db_name", "messaging_destination"]
    spans = session.read.parquet(*paths).select(*columns, *peers).dropDuplicates(["trace_id", "span_id", "kind"])
    parents = spans.select(
        "trace_id",
        f.col("span_id").alias("parent_span_id"),
        f.col("service").alias("caller"),
        f.col("kind").alias("parent_kind"),
        f.col("status").alias("client_status"),
        f.col("start_ns").alias("client_start_ns"),
        f.col("duration_ns").alias("client_ns"),
    )
    calls = spans.join(parents, ["trace_id", "parent_span_id"], "left")
    arrives = f.col("kind").isin(2, 5) | (f.col("caller") != f.col("service"))
    peer = f.coalesce(*(f.col(name) for name in peers))
    answered = calls.where(arrives & f.col("parent_kind").isin(3, 4)).select(
        "trace_id", f.col("parent_span_id").alias("id")
    )
    opened = spans.where(f.col("kind").isin(3, 4) & peer.isNotNull()).join(
        answered, (spans.trace_id == answered.trace_id) & (spans.span_id == answered.id), "left_anti"
    )
    bucket = f.floor(f.log2(f.greatest(f.col("ns"), f.lit(1))) * 16)
    both = calls.where(arrives).select(
        f.coalesce("caller", f.lit("external")).alias("caller"),
        f.col("service").alias("callee"),
        f.coalesce("client_start_ns", "start_ns").alias("at"),
        ((f.col("status") == 2) | (f.col("client_status") == 2)).cast("long").alias("failed"),
        f.coalesce("client_ns", "duration_ns").alias("ns"),
    )
    alone = opened.select(
        f.col("service").alias("caller"),
        peer.alias("callee"),
        f.col("start_ns").alias("at"),
        (f.col("status") == 2).cast("long").alias("failed"),
        f.col("duration_ns").alias("ns"),
    )
    step = f.col("at") - f.col("at") % 10_000_000_000
    counted = both.unionAll(alone).groupBy("caller", "callee", step.alias("step"), bucket.alias("bucket"))
    histograms = counted.agg(f.count("*").alias("count"), f.sum("failed").alias("failed"))
    edges = histograms.groupBy("caller", "callee", "step").agg(
        f.sum("count").alias("count"),
        f.sum("failed").alias("failed"),
        f.collect_list(f.struct("bucket", "count")).alias("duration"),
    )
    return int(edges.toArrow().num_rows)


def _compared(roll_up: Callable[[list[str]], Any], small: list[str], large: list[str], spans: int) -> dict[str, Any]:
    half, whole = _timed(lambda: roll_up(small)), _timed(lambda: roll_up(large))
    growth = whole["cpu seconds"] / half["cpu seconds"]
    return _per_million(whole, spans) | {"cpu growth per doubling": growth}


def _per_million(found: dict[str, float], spans: int) -> dict[str, Any]:
    a_million = found["cpu seconds"] / spans * 1e6
    return found | {"spans per second": spans / found["seconds"], "cpu seconds a million spans": a_million}


def _timed(work: Callable[[], Any]) -> dict[str, float]:
    cpu, clock = _cpu_s(), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - clock, "cpu seconds": _cpu_s() - cpu}


def _cpu_s() -> float:
    """Return the processor time of this process and of all that it started, ended ones included."""
    total = 0.0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _worker_rss_mb() -> Iterator[float]:
    for process in psutil.Process().children(recursive=True):
        try:
            if any("pyspark" in word for word in process.cmdline()[1:3]):
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                yield int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1e3
        except (psutil.NoSuchProcess, OSError, StopIteration):
            continue
