"""What ends in the middle of a batch job is made whole, and nothing counts twice: a worker, the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hook_chain import wait_for
from small_incident import START_NS, telemetry

from benchmarks.generate import temporary_store
from benchmarks.spark_cluster import Cluster, settings
from hypocenter.batch import run
from hypocenter.graph.rollup import SCHEMAS
from hypocenter.graph.slices import roll_up_segments
from hypocenter.graph.spark import Spark, spark_engine
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS

pytestmark = pytest.mark.timeout(600)
HOURS = 2
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


def _store(path: Path) -> Store:
    """Return a store of the same small incident in each of some hours."""
    store = Store(path, create=True)
    for hour in range(HOURS):
        spans = telemetry(suspect=f"payment-{hour}").table("spans")
        columns = {name: spans[name] for name in spans.column_names}
        columns["start_ns"] = pc.add(spans["start_ns"], hour * HOUR_NS)
        columns["trace_id"] = pc.binary_replace_slice(spans["trace_id"], 0, 1, str(hour))
        store.append(Batch({"spans": pa.table(columns, spans.schema)}), arrived_ns=START_NS + hour * HOUR_NS)
    return store


def test_batch_job_whose_driver_is_killed_goes_on_where_it_ended(spark_cluster: Cluster, tmp_path: Path) -> None:
    store, out = _store(tmp_path / "store"), tmp_path / "out"
    conf = tmp_path / "conf"
    conf.mkdir()
    lines = "\n".join(f"{name} {value}" for name, value in settings().items())
    (conf / "spark-defaults.conf").write_text(lines, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("hypocenter")), "batch", "--store", "store", "--out", "out"]
    command += ["--engine", "spark", "--master", spark_cluster.url]
    environment = os.environ | {"SPARK_CONF_DIR": str(conf)}
    spark_cluster.wait_for_no_driver()
    with (tmp_path / "driver.log").open("wb") as log:
        driver = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=log, start_new_session=True)
        wait_for(lambda: list((store.path / "rollups").glob("*/[!.]*")), "the rollups of an hour", 240)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    kept = {path: path.stat().st_mtime_ns for path in (store.path / "rollups").glob("*/[!.]*")}
    assert 0 < len(kept) < HOURS and not list(out.glob("*.parquet"))
    spark_cluster.wait_for_no_driver()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{HOURS} hours analysed, 0 unchanged\n")
    # What the first driver kept was not made anew, and all of it is what one machine makes.
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    expected = run(_store(tmp_path / "alone"), tmp_path / "expected")
    assert set(expected.incidents.service.dropna()) == {f"payment-{hour}" for hour in range(HOURS)}
    for file in sorted((tmp_path / "expected").glob("*.parquet")):
        pd.testing.assert_frame_equal(pd.read_parquet(out / file.name), pd.read_parquet(file))
