"""Engines: where named queries, roll-ups and tasks run; nothing above knows which one it is."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

import duckdb
import pyarrow as pa

from hypocenter.errors import SourceError

from ..tracer.window import Window
from .queries import connect, run_in
from .rollup import Rollups
from .slices import roll_up_segments

Task = TypeVar("Task")
Found = TypeVar("Found")
ENGINES = ("duckdb", "spark")
# Fewer are not worth the seconds that a process takes to start.
_TASKS_A_PROCESS = 2


class Engine(Protocol):
    """One machine or a cluster; results are the same, to the bit, whichever runs."""

    def run(self, name: str, tables: Mapping[str, Any]) -> pa.Table:
        """Return the result of ``graph/sql/<name>.sql`` over Arrow tables by the names that the query uses."""
        ...

    def roll_up(self, paths: Sequence[str], window: Window | None = None, sample: int = 1) -> Rollups:
        """Return the rollups of the spans in segments that start in ``window`` (None: all), of one trace in ``sample``.

        Raises SourceError as `hypocenter.graph.slices.roll_up_segments`, and when the cluster gives up.
        """
        ...

    def each(self, function: Callable[[Task], Found], tasks: Sequence[Task]) -> Iterator[Found]:
        """Yield what ``function`` returns of each task, in their order.

        Function, tasks and results must be picklable, and a task may run more than once.
        """
        ...


class DuckDB:
    """This machine: DuckDB and threads of this process, in bounded memory; many tasks in ``processes``, if more than 1.

    A program that asks for processes must guard its start (``if __name__ == "__main__"``), since they import it.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, processes: int = 1) -> None:
        self._connection, self._processes = connection, processes

    def run(self, name: str, tables: Mapping[str, Any]) -> pa.Table:
        """Return the result of a named query."""
        return run_in(self._connection, name, tables)

    def roll_up(self, paths: Sequence[str], window: Window | None = None, sample: int = 1) -> Rollups:
        """Return the rollups of segments, linked in slices of whole traces."""
        return roll_up_segments(paths, window, sample=sample)

    def each(self, function: Callable[[Task], Found], tasks: Sequence[Task]) -> Iterator[Found]:
        """Yield the results one after the other; SourceError when a process was killed."""
        wanted = min(self._processes, len(tasks) // _TASKS_A_PROCESS)
        if wanted < 2:
            yield from map(function, tasks)
            return
        try:
            with ProcessPoolExecutor(wanted, multiprocessing.get_context("spawn")) as pool:
                yield from pool.map(function, tasks)
        except BrokenProcessPool as error:
            raise SourceError(f"a process ended in the middle, for want of memory perhaps: {error}") from error


@contextmanager
def duckdb_engine(processes: int = 1) -> Iterator[Engine]:
    """Yield the engine of this machine."""
    with connect() as connection:
        yield DuckDB(connection, processes)


def open_engine(name: str = "duckdb", master: str | None = None, processes: int = 1) -> AbstractContextManager[Engine]:
    """Return an engine by name (`ENGINES`), to be entered; what it started ends on leaving.

    Parameters
    ----------
    master
        The cluster's URL, for Spark only: ``spark://host:7077``, ``k8s://...``, ``local[4]``; None is what Spark's own
        configuration says.
    processes
        How many do tasks on this machine (`DuckDB`); on a cluster its workers do.

    Raises
    ------
    SourceError
        Spark is not installed, or its cluster does not answer.
    ValueError
        There is no engine of that name, or DuckDB was given a master.
    """
    if name == "duckdb":
        if master is not None:
            raise ValueError("a master is for the engine spark; leave it out, or ask for spark")
        return duckdb_engine(processes)
    if name != "spark":
        raise ValueError(f"expected one of {', '.join(ENGINES)}, not {name!r}")
    try:
        from .spark import spark_engine
    except ImportError as error:
        raise SourceError(f"Spark is not installed ({error}); install pyspark, as the extra `spark` does") from error
    return spark_engine(master)
