"""Spark as an engine: named queries transpiled by sqlglot, spans linked in a partition for each share of the traces."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from hypocenter.errors import SourceError

from ..tracer.store.remote import located
from ..tracer.window import Window
from .engine import Engine, Found, Task
from .ids import OpaqueIds
from .queries import query
from .rollup import Rollups, empty, merge
from .rules import Rules
from .spark_links import BUCKET_NS, OPAQUE, Plan, Survey, Wanted, survey, together

# A task reads at most about this much and links at most about as many spans, less where that leaves cores without work.
# Every partition may hold a row of each edge and step, and these are shuffled and added up: few large ones are better.
_TASK_BYTES = 32 * 1024 * 1024
_PARTITION_SPANS, _FEWEST_SPANS = 1_500_000, 50_000
# A window may be years wide, and nearly all of it empty.
_MOST_TO_ADD_UP = 256
_SETTINGS = {
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Small tables: a task each for thousands of empty partitions would be most of the time.
    "spark.sql.shuffle.partitions": "4",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
}


@cache
def spark_sql(name: str) -> str:
    """Return a named query in Spark's dialect."""
    import sqlglot

    (text,) = sqlglot.transpile(query(name), read="duckdb", write="spark", comments=False)
    return text


class Spark:
    """A Spark session; Python of the same version with hypocenter must be on every worker."""

    def __init__(self, session: SparkSession) -> None:
        self.session = session

    def run(self, name: str, tables: Mapping[str, Any]) -> pa.Table:
        """Return the result of a named query, run by Spark SQL."""
        with _as_source_error(name):
            for table_name, table in tables.items():
                self.session.createDataFrame(_plain(table)).createOrReplaceTempView(table_name)
            try:
                return self.session.sql(spark_sql(name)).toArrow()
            finally:
                for table_name in tables:
                    self.session.catalog.dropTempView(table_name)

    def roll_up(self, paths: Sequence[str], window: Window | None = None, sample: int = 1) -> Rollups:
        """Return the rollups of segments: read by file, shuffled by trace, linked by partition, added up by time."""
        with _as_source_error("rolling up"):
            try:
                return self._roll_up(paths, Wanted(window, sample, are_ids_hex=True))
            except OpaqueIds:
                return self._roll_up(paths, Wanted(window, sample, are_ids_hex=False))

    def each(self, function: Callable[[Task], Found], tasks: Sequence[Task]) -> Iterator[Found]:
        """Yield the results of tasks, each run by itself on a worker, as soon as those before it are there."""
        context = self.session.sparkContext
        if not tasks:
            return
        # A job each, so that a result comes as soon as it and those before it are there; more at once than run at once.
        jobs = context.parallelize(tasks, len(tasks)).map(function)
        waiting = 2 * context.defaultParallelism
        with _as_source_error(getattr(function, "__name__", "tasks")), ThreadPoolExecutor(waiting) as pool:
            for (found,) in pool.map(lambda at: context.runJob(jobs, list, [at]), range(len(tasks))):
                yield found

    def _roll_up(self, paths: Sequence[str], wanted: Wanted) -> Rollups:
        context = self.session.sparkContext
        groups = _groups(paths, context.defaultParallelism)
        if not groups:
            return empty()
        files = context.parallelize(groups, len(groups))
        surveys: list[Survey | None] = files.map(lambda group: survey(group, wanted)).collect()
        known = together(_hex(surveys))
        spans = int(known.profiles.spans.sum())
        if not spans:
            return empty()
        rules = Rules.of(self.run, known.profiles.table(), fold_operations=True)
        partitions = max(-(-spans // _PARTITION_SPANS), min(context.defaultParallelism, -(-spans // _FEWEST_SPANS)))
        plan = Plan(wanted, known.profiles, rules, partitions)
        shared = context.broadcast(plan)
        senders: list[Any] = []
        if len(known.linked.key):
            linked = context.broadcast(np.unique(known.linked.key))
            senders = _hex(files.map(lambda group: shared.value.sent(group, linked.value)).collect())
        sent = context.broadcast(known.linked.sent(senders))
        found = (
            files.flatMap(lambda group: shared.value.blocks(group))
            .groupByKey(plan.partitions)
            .flatMap(lambda one: [OPAQUE] if one[0] == OPAQUE[0] else shared.value.roll_up(one[1], sent.value))
            .groupByKey(_tasks_to_add_up(plan, context.defaultParallelism))
            .mapValues(_added)
            .collect()
        )
        return merge(_hex([rollups for _, rollups in found]))


@contextmanager
def spark_engine(master: str | None = None, settings: Mapping[str, str] | None = None) -> Iterator[Engine]:
    """Yield an engine on a cluster (`hypocenter.graph.engine.open_engine`); ``settings`` are Spark's own, by name."""
    # Spark looks for the workers' Python nowhere else; theirs must have hypocenter as this one has.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("hypocenter")
    for name, value in (_SETTINGS | dict(settings or {})).items():
        builder = builder.config(name, value)
    with _as_source_error(master or "Spark"):
        session = (builder.master(master) if master else builder).getOrCreate()
    try:
        session.sparkContext.setLogLevel("ERROR")
        yield Spark(session)
    finally:
        session.stop()


def _groups(paths: Sequence[str], cores: int) -> list[list[str]]:
    """Return paths in groups of about equal size, in their order, at least one for each core."""
    if not paths:
        return []
    files, filesystem = located(paths)
    if filesystem is None:
        # Workers have other working folders.
        paths = [str(Path(path).absolute()) for path in paths]
        sizes = np.array([Path(path).stat().st_size for path in paths], np.int64)
    else:
        sizes = np.array([info.size or 0 for info in filesystem.get_file_info(files)], np.int64)
    number = (np.cumsum(sizes) - sizes) // min(_TASK_BYTES, sizes.sum() // cores + 1)
    return [[paths[at] for at in np.flatnonzero(number == one).tolist()] for one in np.unique(number)]


def _tasks_to_add_up(plan: Plan, cores: int) -> int:
    """Return a task for each bucket of time, if these are known: an executor holds three times what a task returns."""
    window = plan.wanted.window
    buckets = plan.partitions if window is None else -(-window.duration_ns // BUCKET_NS) + 1
    return max(min(plan.partitions, cores), min(buckets, _MOST_TO_ADD_UP))


def _added(parts: Iterable[Any]) -> Rollups | None:
    found = list(parts)
    return None if OPAQUE[1] in found else merge(found)


def _hex(parts: Sequence[Any]) -> list[Any]:
    """Return what tasks found, unless one of them met ids that are not hex."""
    if any(part is None for part in parts):
        raise OpaqueIds("ids are not hex of one length")
    return list(parts)


def _plain(table: pa.Table) -> pa.Table:
    """Return ``table`` with its texts as such: Spark knows no codes."""
    fields = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields))


@contextmanager
def _as_source_error(what: str) -> Iterator[None]:
    try:
        yield
    except (Py4JError, PySparkException) as error:
        told = str(error)
        lines = [line.strip() for line in told.splitlines() if "Error:" in line or "Exception:" in line]
        is_changed = "segments changed while they were read" in told
        raise SourceError(f"Spark gave up on {what}: {(lines or [told])[-1][:500]}", retryable=is_changed) from error
