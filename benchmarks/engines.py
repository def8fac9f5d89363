"""Rolling up on DuckDB and on a Spark cluster, against a query written by hand in PySpark and against pandas."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import psutil

from hypocenter.graph.cache import OVERLAP_NS
from hypocenter.graph.engine import Engine, duckdb_engine
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window, hours

from .generate import temporary_store
from .link import notebook
from .measure import peak_rss_bytes
from .spark_cluster import running, settings

Figures: TypeAlias = dict[str, Any]
DESCRIPTION = (
    "roll up on DuckDB and on a Spark cluster: CPU seconds a million spans, growth, against hand-written PySpark"
)

# A notebook holds every span as Python objects; the query by hand takes minutes at ten million.
_MOST_SPANS = {"hand-written": 12_000_000, "pandas": 3_000_000}
_WARM_UP_SPANS = 200_000


def run(spans: int = 1_000_000, workers: int = 2, memory: str = "1g", against: str = "hand-written,pandas") -> Figures:
    """Return seconds and CPU seconds of all processes at half of ``spans`` and at ``spans``, each after a first run.

    Both go hour by hour, as a batch pass does, with five minutes of each neighbour. The cluster is a master and workers
    of one core on this machine; its start, a session and the first run, of 200,000 spans, are apart. ``memory`` is of
    each executor's JVM and of the driver. ``against`` are measured at ``spans`` as far as that is no more than they
    stand (12 million, 3 million): ``hand-written``, which joins spans to their parents, decides kinds in a few
    ``when``, and counts calls, errors and buckets of duration per edge and step, and has neither the rules for odd
    spans nor operations, instances and exclusive times; ``pandas`` and networkx.
    """
    wanted = {name for name in against.split(",") if spans <= _MOST_SPANS.get(name, 0)}
    figures: Figures = {"spans": spans, "load before": os.getloadavg()[0]}
    clock = time.perf_counter()
    with temporary_store(_WARM_UP_SPANS) as few, temporary_store(spans) as store:
        figures["seconds to generate"] = time.perf_counter() - clock
        inputs = _Inputs(few, store, spans)
        with duckdb_engine() as engine:
            roll_up(engine, few)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            figures["DuckDB"] = inputs.compared(engine) | {"peak MB": peak_rss_bytes() // 10**6}
        with TemporaryDirectory(prefix="hypocenter-benchmark-") as folder:
            clock = time.perf_counter()
            with running(Path(folder), workers, memory) as cluster:
                figures["start-up"] = {"cluster seconds": time.perf_counter() - clock}
                _on_spark(cluster.url, inputs, memory, "hand-written" in wanted, figures)
        if "pandas" in wanted:
            figures["pandas"] = inputs.alone(lambda: notebook(str(store.path)))
    figures["load after"] = os.getloadavg()[0]
    return figures | _ratios(figures)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """A store to warm up with, and the one that is measured."""

    few: Store
    store: Store
    spans: int

    def compared(self, engine: Engine) -> Figures:
        """Return what the whole takes, and its processor time over that of the half."""
        half = _timed(lambda: roll_up(engine, self.store, 0.5))
        whole = self.alone(lambda: roll_up(engine, self.store))
        return whole | {"cpu growth per doubling": whole["cpu seconds"] / half["cpu seconds"]}

    def alone(self, work: Callable[[], Any]) -> Figures:
        """Return what the whole takes."""
        found = _timed(work)
        a_million = found["cpu seconds"] / self.spans * 1e6
        return found | {"spans per second": self.spans / found["seconds"], "cpu seconds a million spans": a_million}


def roll_up(engine: Engine, store: Store, share: float = 1) -> int:
    """Roll up the first ``share`` of a store's time hour by hour; return the number of rows of edges."""
    held, rows = store.bounds("spans"), 0
    assert held is not None
    end_ns = held.start_ns + int(held.duration_ns * share)
    for hour in hours(held.start_ns, end_ns):
        # The overlap lets a trace at the edge of an hour be linked whole.
        start_ns = max(held.start_ns, hour.start_ns - OVERLAP_NS)
        part = Window(start_ns, min(end_ns, hour.end_ns + OVERLAP_NS))
        rows += engine.roll_up(store.paths("spans", part), part).edges.num_rows
    return rows


def _on_spark(url: str, inputs: _Inputs, memory: str, is_hand_written: bool, figures: Figures) -> None:
    from hypocenter.graph.spark import Spark, spark_engine

    cpu, clock = _cpu_s(), time.perf_counter()
    with spark_engine(url, settings(memory)) as engine:
        assert isinstance(engine, Spark)
        session_s = time.perf_counter() - clock
        first = _timed(lambda: roll_up(engine, inputs.few))
        figures["start-up"] |= {"session seconds": session_s, "first run": first, "cpu seconds": _cpu_s() - cpu}
        begun = _executors()
        figures["Spark"] = inputs.compared(engine) | _peaks_mb() | {"executors lost": len(begun - _executors())}
        if is_hand_written:
            hand_written(engine.session, inputs.few)
            figures["hand-written"] = inputs.alone(lambda: hand_written(engine.session, inputs.store))


def _ratios(figures: Figures) -> Figures:
    ours = figures["Spark"]
    found = {"Spark, times DuckDB's cpu": ours["cpu seconds"] / figures["DuckDB"]["cpu seconds"]}
    if theirs := figures.get("hand-written"):
        found["hand-written, times Spark's cpu"] = theirs["cpu seconds"] / ours["cpu seconds"]
        found["hand-written, times Spark's time"] = theirs["seconds"] / ours["seconds"]
    return found


def hand_written(session: Any, store: Store) -> int:
    """Count calls per edge and step as one would by hand in PySpark; return the number of rows."""
    from pyspark.sql import functions as f

    # Left to itself it sends one side of a join to all, and a driver of 1 GB ends at 2 million spans.
    session.conf.set("spark.sql.autoBroadcastJoinThreshold", -1)
    # As Spark comes: adaptive, from 200 on; ours is set for small tables.
    session.conf.set("spark.sql.shuffle.partitions", 200)
    columns = ["trace_id", "span_id", "parent_span_id", "service", "kind", "status", "start_ns", "duration_ns"]
    peers = ["peer_service", "peer_address", "db_name", "messaging_destination"]
    stored = session.read.parquet(*store.paths("spans")).select(*columns, *peers)
    spans = stored.dropDuplicates(["trace_id", "span_id", "kind"])
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


def _executors() -> set[int]:
    return {process.pid for process, kind in _of_executors() if kind == 0}


def _peaks_mb() -> dict[str, int]:
    """Return the largest memory so far of a process of each kind that makes an executor."""
    found = {"peak MB, JVM of an executor": 0, "peak MB, its Python": 0}
    for process, kind in _of_executors():
        name = list(found)[kind]
        with suppress(OSError, StopIteration):  # ended meanwhile
            found[name] = max(found[name], peak_rss_bytes(process.pid) // 10**6)
    return found


def _of_executors() -> Iterator[tuple[psutil.Process, int]]:
    """Yield the processes that make executors, each JVM with 0 and its Python with 1."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if any("ExecutorBackend" in word for word in words):
                yield process, 0
            elif "pyspark.daemon" in words:
                yield process, 1
