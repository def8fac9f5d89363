"""A clock that is wrong by decades: its spans are counted, and nobody walks through the empty hours between."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from small_incident import START_NS, telemetry
from typer.testing import CliRunner

from hypocenter.batch import run
from hypocenter.cli.main import app
from hypocenter.graph.cache import fill, refresh, rollups, to_link
from hypocenter.graph.engine import duckdb_engine
from hypocenter.graph.scan_calls import scan_calls
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, Window

# Half a million hours take minutes, whatever is done in each.
pytestmark = pytest.mark.timeout(120)
FIRST_HOUR = Window(START_NS // HOUR_NS * HOUR_NS, (START_NS // HOUR_NS + 1) * HOUR_NS)
IN_1970 = Window(0, HOUR_NS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store of a recording whose one segment also holds a span at 1970."""
    store, recorded = Store(tmp_path / "store", create=True), telemetry()
    spans = recorded.table("spans")
    wrong = spans.slice(0, 1).to_pylist()[0] | {"trace_id": "f" * 32, "start_ns": 1_000, "service": "lost-clock"}
    spans = pa.concat_tables([spans, pa.Table.from_pylist([wrong], spans.schema)])
    store.append(Batch(recorded.tables | {"spans": spans}), arrived_ns=START_NS)
    assert len(store.segments("spans")) == 1
    return store


def test_hours_are_those_that_hold_spans(store: Store) -> None:
    assert store.hours("spans") == [IN_1970, FIRST_HOUR]
    assert store.hours("spans", Window(HOUR_NS, 2**62)) == [FIRST_HOUR]
    assert store.hours("spans", Window(HOUR_NS, 2 * HOUR_NS)) == []
    # Whoever listed them already asks no file again.
    store.segments("spans")[0].path.write_bytes(b"")
    assert store.hours("spans", IN_1970) == []


def test_each_span_is_counted(store: Store) -> None:
    held, count = Window(0, START_NS + HOUR_NS), store.read("spans").num_rows
    assert to_link(store, held) == count
    with duckdb_engine() as engine:
        assert (fill(store, held, engine), fill(store, held, engine)) == (2, 0)
    whole = rollups(store, held, coarse=True)
    assert sum(whole.operations["count"].to_pylist()) == count
    assert "lost-clock" in whole.operations["service"].to_pylist()
    assert "lost-clock" in {callee for part in scan_calls(store) for callee in part["callee"].to_pylist()}


def test_upkeep_keeps_the_rollups_of_both_hours_and_of_no_other(store: Store) -> None:
    with duckdb_engine() as engine:
        fill(store, Window(0, 2**62), engine)
    names = {path.name for path in (store.path / "rollups").iterdir()}
    (store.path / "rollups" / "2001-01-01T00").mkdir()
    refresh(store)
    assert {path.name for path in (store.path / "rollups").iterdir()} == names == {"1970-01-01T00", "2023-11-14T22"}


def test_graph_and_batch_answer_as_without_it(store: Store, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["graph", "--store", str(store.path), "-o", "json"])
    assert told.exit_code == 0
    assert "lost-clock" in {node["id"] for node in json.loads(told.stdout)["nodes"]}
    done = run(store, tmp_path / "out")
    # The hour of the recording, that of the span, and the one after it, in which it might have fallen silent.
    assert (done.analysed, done.failed) == (3, ())
    assert done.incidents.service.dropna().tolist() == ["payment"]
    coverage = pd.read_parquet(tmp_path / "out" / "coverage.parquet")
    assert coverage.spans.tolist() == [1, 0, store.read("spans").num_rows - 1]
