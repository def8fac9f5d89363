"""Spark and a store on a real server of S3: workers read it where it lies, and come to what one machine comes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from object_storage import Bucket
from odd_spans import odd_store
from small_incident import START_NS, telemetry

from benchmarks.spark_cluster import Cluster, settings
from hypocenter.batch import run
from hypocenter.graph.cache import fill, rollups
from hypocenter.graph.engine import Engine
from hypocenter.graph.rollup import SCHEMAS
from hypocenter.graph.spark import spark_engine
from hypocenter.tracer.store import Store
from hypocenter.tracer.store.copy import copy_hours
from hypocenter.tracer.store.remote import RemoteStore, filesystem_of, store_at

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def spark(bucket: Bucket, spark_cluster: Cluster) -> Iterator[Engine]:
    """Yield an engine whose workers may read the bucket: a driver's environment is not theirs."""
    environment = {f"spark.executorEnv.{name}": value for name, value in bucket.variables.items()}
    with spark_engine(spark_cluster.url, settings() | environment) as engine:
        yield engine


def test_rollups_of_segments_there_are_those_of_one_machine_to_the_bit(
    spark: Engine, duckdb: Engine, url: str, tmp_path: Path
) -> None:
    store = odd_store(tmp_path / "store", generated=20_000)
    copy_hours(store, url, now_ns=2**62)
    there = store_at(url).paths("spans")
    assert len(there) == len(store.paths("spans")) and all(path.startswith("s3://") for path in there)
    expected, found = duckdb.roll_up(store.paths("spans")), spark.roll_up(there)
    assert expected.edges.num_rows > 0
    assert [name for name in SCHEMAS if not getattr(found, name).equals(getattr(expected, name))] == []


def test_what_spark_keeps_there_is_read_by_one_machine_and_not_made_again(spark: Engine, url: str) -> None:
    store = RemoteStore(url, create=True)
    store.append(telemetry(), arrived_ns=START_NS)
    held = store.bounds("spans")
    assert held is not None and fill(store, held, spark) > 0
    # Another process asks: all is kept.
    again = store_at(url)
    assert fill(again, held, spark) == 0
    local = rollups(again, held)
    assert local.edges.num_rows > 0


def test_batch_job_on_the_cluster_reads_and_writes_there_as_one_machine_does_on_a_disk(
    spark: Engine, url: str, tmp_path: Path
) -> None:
    whole, store = RemoteStore(f"{url}/store", create=True), Store(tmp_path / "store", create=True)
    for one in (whole, store):
        one.append(telemetry(), arrived_ns=START_NS)
    found, expected = run(whole, f"{url}/found", engine=spark), run(store, tmp_path / "expected")
    assert found.analysed == expected.analysed > 0 and len(expected.incidents) > 0
    filesystem, path = filesystem_of(url)
    for file in sorted((tmp_path / "expected").glob("*.parquet")):
        there = pq.read_table(f"{path}/found/{file.name}", filesystem=filesystem).to_pandas()
        pd.testing.assert_frame_equal(there, pd.read_parquet(file))
    assert run(whole, f"{url}/found", engine=spark).skipped == expected.analysed
