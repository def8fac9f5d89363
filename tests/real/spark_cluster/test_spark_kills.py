"""What ends in the middle of a batch job is made whole, and nothing counts twice: a worker, the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hook_chain import wait_for
from small_incident import ALERT_NS, SECOND_NS, START_NS, telemetry

from benchmarks.generate import temporary_store
from benchmarks.spark_cluster import Cluster, settings
from hypocenter.batch import run
from hypocenter.batch.alerts import Alert, rank_alerts
from hypocenter.graph.cache import fill
from hypocenter.graph.engine import duckdb_engine
from hypocenter.graph.rollup import SCHEMAS
from hypocenter.graph.slices import roll_up_segments
from hypocenter.graph.spark import Spark, spark_engine
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, MINUTE_NS, Window, to_rfc3339

pytestmark = pytest.mark.timeout(600)
HOURS = 2
RANKED = 6
# What Spark calls the stages that read, share out and link.
_LINKING = "groupByKey"


def _runs_stage(spark: Spark, name: str) -> bool:
    tracker = spark.session.sparkContext.statusTracker()
    stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    return any(stage is not None and name in stage.name and stage.numActiveTasks for stage in stages)


def test_worker_that_is_killed_costs_its_tasks_and_changes_nothing(spark_cluster: Cluster) -> None:
    with temporary_store(200_000) as store, spark_engine(spark_cluster.url, settings()) as spark:
        assert isinstance(spark, Spark)
        paths = store.paths("spans")
        killed = threading.Event()

        def kill() -> None:
            # Linking is at work: its input lies on the workers' disks, one of which is now gone.
            wait_for(lambda: _runs_stage(spark, _LINKING), "the stage that links", 240)
            spark_cluster.kill_worker(spark_cluster.workers[0])
            killed.set()

        killer = threading.Thread(target=kill)
        killer.start()
        found = spark.roll_up(paths)
        assert killed.is_set()
        killer.join()
        expected = roll_up_segments(paths)
    spark_cluster.start_worker(spark_cluster.workers[0])
    spark_cluster.wait_for_workers()
    assert [name for name in SCHEMAS if not getattr(found, name).equals(getattr(expected, name))] == []


def _store(path: Path, hours: int = HOURS) -> Store:
    """Return a store of the same small incident in each of some hours."""
    store = Store(path, create=True)
    for hour in range(hours):
        spans = telemetry(suspect=f"payment-{hour}").table("spans")
        columns = {name: spans[name] for name in spans.column_names}
        columns["start_ns"] = pc.add(spans["start_ns"], hour * HOUR_NS)
        columns["trace_id"] = pc.binary_replace_slice(spans["trace_id"], 0, 1, str(hour))
        store.append(Batch({"spans": pa.table(columns, spans.schema)}), arrived_ns=START_NS + hour * HOUR_NS)
    return store


class _Job:
    """``hypocenter batch`` on a cluster over the store in a folder, as a process that can be killed."""

    def __init__(self, cluster: Cluster, folder: Path, *options: str) -> None:
        self.cluster, self.folder, conf = cluster, folder, folder / "conf"
        conf.mkdir()
        lines = "\n".join(f"{name} {value}" for name, value in settings().items())
        (conf / "spark-defaults.conf").write_text(lines, encoding="utf-8")
        self._command = [str(Path(sys.executable).with_name("hypocenter")), "batch", "--store", "store"]
        self._command += ["--out", "out", "--engine", "spark", "--master", cluster.url, *options]
        self._environment = os.environ | {"SPARK_CONF_DIR": str(conf)}

    def start(self) -> subprocess.Popen[str]:
        """Start it, with a session of its own and what it prints in files."""
        self.cluster.wait_for_no_driver()
        with (self.folder / "stdout").open("w") as out, (self.folder / "stderr").open("w") as log:
            return subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self._environment,
                stdout=out,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def killed_after(self, is_time: Callable[[], object], what: str) -> None:
        """Start it and kill it, and all that it started, once it is time."""
        driver = self.start()
        wait_for(is_time, what, 240)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()

    def finished(self, driver: subprocess.Popen[str] | None = None) -> str:
        """Return what it printed, at its end, having started it if need be; 1 tells of alerts that have no answer."""
        status = (driver or self.start()).wait()
        assert status in (0, 1), (self.folder / "stderr").read_text(encoding="utf-8")
        return (self.folder / "stdout").read_text(encoding="utf-8")


def _assert_same_tables(found: Path, expected: Path) -> None:
    names = [file.name for file in sorted(expected.glob("*.parquet"))]
    assert names and names == [file.name for file in sorted(found.glob("*.parquet"))]
    for name in names:
        pd.testing.assert_frame_equal(pd.read_parquet(found / name), pd.read_parquet(expected / name))


def _times(paths: Iterable[Path]) -> dict[Path, int]:
    """Return when each of some files or folders was last changed."""
    return {path: path.stat().st_mtime_ns for path in paths}


def test_batch_job_whose_driver_is_killed_goes_on_where_it_ended(spark_cluster: Cluster, tmp_path: Path) -> None:
    store, out = _store(tmp_path / "store"), tmp_path / "out"
    job = _Job(spark_cluster, tmp_path)
    job.killed_after(lambda: list((store.path / "rollups").glob("*/[!.]*")), "the rollups of an hour")
    kept = _times((store.path / "rollups").glob("*/[!.]*"))
    assert 0 < len(kept) < HOURS and not list(out.glob("*.parquet"))
    assert job.finished().startswith(f"{HOURS} hours analysed, 0 unchanged\n")
    # What the first driver kept was not made anew, and all of it is what one machine makes.
    assert _times(kept) == kept
    expected = run(_store(tmp_path / "alone"), tmp_path / "expected")
    assert set(expected.incidents.service.dropna()) == {f"payment-{hour}" for hour in range(HOURS)}
    _assert_same_tables(out, tmp_path / "expected")


def _rolled_up(path: Path, hours: int) -> Store:
    """Return a store whose hours are rolled up, so that a job has nothing to do but rank."""
    store = _store(path, hours)
    with duckdb_engine() as engine:
        assert fill(store, Window(0, 2**62), engine) == hours
    return store


def test_worker_that_is_killed_while_incidents_are_ranked_loses_none_and_doubles_none(
    spark_cluster: Cluster, tmp_path: Path
) -> None:
    _rolled_up(tmp_path / "store", RANKED)
    job = _Job(spark_cluster, tmp_path)
    driver = job.start()
    # A result has come, so each of two workers, of one core each, is at another.
    wait_for(lambda: _ranked(tmp_path / "out" / "hours"), "the ranking of an hour", 240)
    spark_cluster.kill_worker(spark_cluster.workers[0])
    ranked = _ranked(tmp_path / "out" / "hours")
    printed = job.finished(driver)
    spark_cluster.start_worker(spark_cluster.workers[0])
    spark_cluster.wait_for_workers()
    assert 0 < len(ranked) < RANKED
    assert printed.startswith(f"{RANKED} hours analysed, 0 unchanged\n")
    expected = run(_store(tmp_path / "alone", RANKED), tmp_path / "expected")
    assert list(expected.incidents.service.dropna()) == [f"payment-{hour}" for hour in range(RANKED)]
    _assert_same_tables(tmp_path / "out", tmp_path / "expected")


def test_driver_that_is_killed_while_alerts_are_ranked_goes_on_with_those_that_are_not(
    spark_cluster: Cluster, tmp_path: Path
) -> None:
    store = _rolled_up(tmp_path / "store", RANKED)
    # Twenty are a task, so each hour's are one: an alert in its incident, the others long after it.
    moments = [ALERT_NS, *(ALERT_NS + 40 * MINUTE_NS + second * SECOND_NS for second in range(19))]
    alerts = [Alert(at_ns + hour * HOUR_NS, "web") for hour in range(RANKED) for at_ns in moments]
    told = [f"{to_rfc3339(alert.at_ns)},{alert.service}" for alert in alerts]
    (tmp_path / "alerts.csv").write_text("\n".join(["time,service", *told]), encoding="utf-8")
    job = _Job(spark_cluster, tmp_path, "--alerts", "alerts.csv")
    parts = tmp_path / "out" / "alerts"
    job.killed_after(lambda: _ranked(parts), "the ranking of some alerts")
    ranked = _times(_ranked(parts))
    assert 0 < len(ranked) < RANKED and not list((tmp_path / "out").glob("*.parquet"))
    job.finished()
    assert _times(ranked) == ranked and len(_ranked(parts)) == RANKED
    with duckdb_engine() as engine:
        expected = rank_alerts(store, tmp_path / "expected", alerts, engine)
    assert expected.incident.is_unique and len(expected) == len(alerts)
    assert list(expected.service[::20]) == [f"payment-{hour}" for hour in range(RANKED)]
    _assert_same_tables(tmp_path / "out", tmp_path / "expected")


def _ranked(folder: Path) -> list[Path]:
    return list(folder.glob("[!.]*"))
