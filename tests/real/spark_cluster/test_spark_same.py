"""Spark on a real cluster and DuckDB come to the same, whatever the spans."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from odd_spans import odd_logs, odd_store, skewed_store

from benchmarks.generate import START_NS
from hypocenter.analysis.incident import case_of
from hypocenter.analysis.ranker import create
from hypocenter.analysis.ranking import Ranking
from hypocenter.errors import SourceError
from hypocenter.graph import log_rollup, queries, slice_plan, slices
from hypocenter.graph.cache import fill, rollups
from hypocenter.graph.engine import Engine
from hypocenter.graph.log_rollup import roll_up_logs
from hypocenter.graph.rollup import SCHEMAS, Rollups
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.ingest import ingest
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

pytestmark = pytest.mark.timeout(600)
RECORDINGS = Path(__file__).parents[3] / "sample_data" / "lab" / "recordings"


SOURCES = ("odd", "skewed", "lab")
NAMED = sorted(
    file.name.removesuffix(".sql") for file in files("hypocenter.graph.sql").iterdir() if file.suffix == ".sql"
)
# Names of several namespaces, and traces across slices, are not in all of them.
WITHOUT_ROWS = {("skewed", "ambiguous"), ("lab", "ambiguous"), ("lab", "strayed_traces")}
Asked = dict[str, Mapping[str, pa.Table]]


def _source(name: str, path: Path) -> Store:
    """Return a store of spans and of logs."""
    if name == "lab":
        store = Store(path, create=True)
        ingest([RECORDINGS / "bad-rollout-catalog-1"], store)
        return store
    store = skewed_store(path) if name == "skewed" else odd_store(path)
    store.append(Batch({"logs": odd_logs(store.read("spans"))}), arrived_ns=START_NS)
    return store


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Asked]:
    """Return by source the tables that each named query is given where spans and logs are rolled up."""
    found: dict[str, Asked] = {}
    for source in SOURCES:
        tables: Asked = found.setdefault(source, {})

        def record(connection: Any, name: str, given: Mapping[str, Any], into: Asked = tables) -> pa.Table:
            into[name] = {key: _whole(table) for key, table in given.items()}
            return queries.run_in(connection, name, into[name])

        store = _source(source, tmp_path_factory.mktemp("asked") / "store")
        held = store.bounds()
        assert held is not None
        with pytest.MonkeyPatch.context() as patched:
            for caller in (slices, slice_plan, log_rollup):
                patched.setattr(caller, "run_in", record)
            # So few spans a slice that traces stray from one to the next.
            slices.roll_up_segments(store.paths("spans"), slice_spans=500)
            roll_up_logs(store, held)
    return found


def _whole(given: Any) -> pa.Table:
    return given.read_all() if isinstance(given, pa.RecordBatchReader) else given


@pytest.mark.parametrize("source", SOURCES)
def test_every_named_query_is_asked(source: str, asked: dict[str, Asked]) -> None:
    assert sorted(asked[source]) == NAMED


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", NAMED)
def test_named_query_gives_the_same_rows(
    name: str, source: str, asked: dict[str, Asked], spark: Engine, duckdb: Engine
) -> None:
    given = {key: _signed(table) for key, table in asked[source][name].items()}
    expected, found = duckdb.run(name, given), spark.run(name, given)
    assert (expected.num_rows == 0) == ((source, name) in WITHOUT_ROWS)
    assert found.column_names == expected.column_names
    assert _sorted(found.cast(expected.schema)).equals(_sorted(expected))


def _signed(table: pa.Table) -> pa.Table:
    """Return a table with the bits of unsigned integers as signed ones: Spark has no others."""
    for at, field in enumerate(table.schema):
        if pa.types.is_uint64(field.type):
            signed = pa.chunked_array([chunk.view(pa.int64()) for chunk in table.column(at).chunks], pa.int64())
            table = table.set_column(at, field.name, signed)
    return table


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([(column, "ascending") for column in table.column_names])


def _differences(found: Rollups, expected: Rollups) -> list[str]:
    assert expected.edges.num_rows > 0 and expected.unlinked.num_rows > 0
    return [name for name in SCHEMAS if not getattr(found, name).equals(getattr(expected, name))]


@pytest.mark.parametrize("are_ids_hex", [True, False])
def test_odd_spans_are_rolled_up_to_the_bit(are_ids_hex: bool, spark: Engine, duckdb: Engine, tmp_path: Path) -> None:
    paths = odd_store(tmp_path / "store", are_ids_hex=are_ids_hex, generated=100_000 * are_ids_hex).paths("spans")
    assert _differences(spark.roll_up(paths), duckdb.roll_up(paths)) == []


def test_skewed_and_late_spans_are_rolled_up_to_the_bit(spark: Engine, duckdb: Engine, tmp_path: Path) -> None:
    paths = skewed_store(tmp_path / "store").paths("spans")
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
