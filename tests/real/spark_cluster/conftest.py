"""One cluster for all tests of Spark, a session of it for each file, and the engine to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.spark_cluster import Cluster, running, settings
from hypocenter.graph.engine import Engine, open_engine
from hypocenter.graph.spark import spark_engine


@pytest.fixture(scope="session")
def spark_cluster(program: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    program("java", remedy="Java 17 or newer runs Spark; `make system` as root installs it")
    with running(tmp_path_factory.mktemp("spark")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def spark(spark_cluster: Cluster) -> Iterator[Engine]:
    with spark_engine(spark_cluster.url, settings()) as engine:
        yield engine


@pytest.fixture(scope="module")
def duckdb() -> Iterator[Engine]:
    with open_engine("duckdb") as engine:
        yield engine
