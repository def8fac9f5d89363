"""Spark on a real cluster and DuckDB come to the same, whatever the spans."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from odd_spans import odd_store

from hypocenter.analysis.incident import case_of
from hypocenter.analysis.ranker import create
from hypocenter.analysis.ranking import Ranking
from hypocenter.errors import SourceError
from hypocenter.graph import log_rollup, queries
from hypocenter.graph.cache import fill, rollups
from hypocenter.graph.engine import Engine
from hypocenter.graph.log_rollup import roll_up_logs
from hypocenter.graph.profiles import Profiles
from hypocenter.graph.rollup import SCHEMAS, Rollups
from hypocenter.graph.rules import Rules
from hypocenter.tracer.ingest import ingest
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

pytestmark = pytest.mark.timeout(600)
RECORDINGS = Path(__file__).parents[3] / "sample_data" / "lab" / "recordings"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Mapping[str, Any]]:
    """Return the tables that each named query is asked about, of odd spans and of logs of the lab."""
    found: dict[str, Mapping[str, Any]] = {}
    store = odd_store(tmp_path_factory.mktemp("asked") / "store")

    def record(connection: Any, name: str, tables: Mapping[str, Any]) -> pa.Table:
        found[name] = dict(tables)
        return queries.run_in(connection, name, tables)

    profiles = Profiles()
    for batch in store.read("spans").to_batches():
        profiles.encode(batch)
    logs = Store(tmp_path_factory.mktemp("logs") / "store", create=True)
    ingest([RECORDINGS / "bad-rollout-catalog-1"], logs)
    with queries.connect() as database, pytest.MonkeyPatch.context() as patched:
        Rules.of(lambda name, tables: record(database, name, tables), profiles.table(), fold_operations=True)
        patched.setattr(log_rollup, "run_in", record)
        held = logs.bounds()
        assert held is not None
        roll_up_logs(logs, held)
    # On a cluster a trace needs no slice; the query is asked all the same.
    found["strayed_traces"] = {"times": pa.table({"trace": [3, 1, 1, 2, 3, 3], "slice": [1, 0, 4, 2, 1, 9]})}
    return found


NAMED = sorted(
    file.name.removesuffix(".sql") for file in files("hypocenter.graph.sql").iterdir() if file.suffix == ".sql"
)


@pytest.mark.parametrize("name", NAMED)
def test_named_query_gives_the_same_rows(
    name: str, asked: dict[str, Mapping[str, Any]], spark: Engine, duckdb: Engine
) -> None:
    expected, found = duckdb.run(name, asked[name]), spark.run(name, asked[name])
    assert expected.num_rows > 0
    assert _sorted(found.cast(expected.schema)).equals(_sorted(expected))


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([(column, "ascending") for column in table.column_names])


def _differences(found: Rollups, expected: Rollups) -> list[str]:
    assert expected.edges.num_rows > 0 and expected.unlinked.num_rows > 0
    return [name for name in SCHEMAS if not getattr(found, name).equals(getattr(expected, name))]


@pytest.mark.parametrize("are_ids_hex", [True, False])
def test_odd_spans_are_rolled_up_to_the_bit(are_ids_hex: bool, spark: Engine, duckdb: Engine, tmp_path: Path) -> None:
    paths = odd_store(tmp_path / "store", are_ids_hex=are_ids_hex, generated=100_000 * are_ids_hex).paths("spans")
    assert _differences(spark.roll_up(paths), duckdb.roll_up(paths)) == []


def test_recordings_of_the_lab_are_rolled_up_to_the_bit(spark: Engine, duckdb: Engine) -> None:
    paths = [str(path) for path in sorted(RECORDINGS.glob("*/spans.parquet"))]
    assert _differences(spark.roll_up(paths), duckdb.roll_up(paths)) == []


def test_sample_takes_the_same_traces(spark: Engine, duckdb: Engine, tmp_path: Path) -> None:
    paths = odd_store(tmp_path / "store").paths("spans")
    assert _differences(spark.roll_up(paths, None, 3), duckdb.roll_up(paths, None, 3)) == []


def test_spans_outside_a_window_are_left_out_alike_and_nothing_gives_nothing(
    spark: Engine, duckdb: Engine, tmp_path: Path
) -> None:
    store = odd_store(tmp_path / "store")
    held = store.bounds("spans")
    assert held is not None
    window = Window(held.start_ns + 3_600_000_000_001, held.end_ns - 1_800_000_000_000)
    assert _differences(spark.roll_up(store.paths("spans"), window), duckdb.roll_up(store.paths("spans"), window)) == []
    nothing = Window(0, 1)
    assert spark.roll_up(store.paths("spans"), nothing) == duckdb.roll_up(store.paths("spans"), nothing)
    assert spark.roll_up([]) == duckdb.roll_up([])


@pytest.mark.parametrize("case", ["bad-rollout-catalog-1", "network-delay-checkout-payment-1"])
def test_ranking_is_the_same_whichever_engine_wrote_the_rollups(
    case: str, spark: Engine, duckdb: Engine, tmp_path: Path
) -> None:
    assert _ranked(tmp_path / "spark", case, spark) == _ranked(tmp_path / "duckdb", case, duckdb)


def _ranked(path: Path, case: str, engine: Engine) -> Ranking:
    store = Store(path, create=True)
    ingest([RECORDINGS / case], store)
    held = store.bounds("spans")
    assert held is not None and fill(store, held, engine) > 0
    # Read by whoever asks, from what the engine kept.
    assert fill(store, held, _Refuses()) == 0 and rollups(store, held).edges.num_rows > 0
    return create("hypocenter").rank(case_of(store))


class _Refuses:
    def roll_up(self, *_: Any) -> Rollups:
        raise AssertionError("everything is kept already")

    run = each = roll_up


def test_tasks_give_their_results_in_order(spark: Engine, duckdb: Engine) -> None:
    assert (
        list(spark.each(str.upper, ["b", "a", "c"])) == list(duckdb.each(str.upper, ["b", "a", "c"])) == ["B", "A", "C"]
    )
    assert list(spark.each(str.upper, [])) == []


def test_damaged_segment_is_an_error_that_says_so(spark: Engine, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 not so")
    with pytest.raises(SourceError, match=r"Spark gave up on rolling up: .*segments cannot be read"):
        spark.roll_up([str(damaged)])
