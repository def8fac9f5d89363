"""A budget of spans: the smallest sample that keeps to it is chosen by the hour, told, and kept to by later passes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from small_incident import ALERT_NS, START_NS, telemetry
from typer.testing import CliRunner

from hypocenter.batch import run
from hypocenter.batch.alerts import Alert, rank_alerts
from hypocenter.batch.budget import views
from hypocenter.cli.main import app
from hypocenter.graph.engine import duckdb_engine
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, Window

SPANS = telemetry().table("spans").num_rows
HOUR = START_NS // HOUR_NS * HOUR_NS


def _hour(n: int) -> Window:
    return Window(HOUR + n * HOUR_NS, HOUR + (n + 1) * HOUR_NS)


@pytest.fixture
def busy(tmp_path: Path) -> Store:
    """Return a store whose second hour has four times the spans of the first, and whose third has none."""
    store, spans = Store(tmp_path / "busy", create=True), telemetry().table("spans")
    for hour, segments in enumerate((1, 4)):
        place = spans.schema.get_field_index("start_ns")
        moved = pa.array([ns + hour * HOUR_NS for ns in spans["start_ns"].to_pylist()], spans.schema.field(place).type)
        for _ in range(segments):
            store.append(Batch({"spans": spans.set_column(place, spans.schema.field(place), moved)}))
    return store


@pytest.mark.parametrize(
    ("most_spans", "samples"),
    [
        (None, [1, 1, 1, 1]),
        (4 * SPANS, [1, 1, 1, 1]),
        (4 * SPANS - 1, [1, 2, 2, 1]),
        (SPANS, [1, 4, 4, 1]),
        (SPANS - 1, [2, 8, 8, 1]),
    ],
)
def test_window_is_seen_in_the_smallest_sample_that_keeps_its_busiest_hour_in_the_budget(
    busy: Store, most_spans: int | None, samples: list[int]
) -> None:
    both = Window(_hour(0).start_ns, _hour(1).end_ns)
    found = views(busy, [_hour(0), _hour(1), both, _hour(5)], most_spans)
    assert [view.sample for view in found] == samples
    assert {view.place for view in found} == {busy.place}


def test_store_that_is_a_sample_stays_one(busy: Store) -> None:
    sampled = Store(busy.path, sample=2)
    assert [view.sample for view in views(sampled, [_hour(0), _hour(1)], SPANS)] == [2, 4]


def test_pass_within_a_budget_tells_its_samples_in_words_and_tables_and_is_not_done_again(
    store: Store, tmp_path: Path
) -> None:
    asked = ["batch", "--store", str(store.path), "--out", str(tmp_path / "out"), "--most-spans", str(SPANS // 2)]
    said = CliRunner().invoke(app, asked).stdout.splitlines()
    assert said[:2] == ["1 hours analysed, 0 unchanged", "one trace in 2 linked: 1 hours"]
    tables = {
        name: pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("coverage", "edges", "incidents")
    }
    assert tables["coverage"]["sample"].to_list() == [2] and tables["coverage"].spans.sum() < 0.7 * SPANS
    assert set(tables["incidents"]["sample"]) == {2}
    assert (tables["edges"].adjusted_count == 2 * tables["edges"]["count"]).all()
    assert "one trace in 2" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert [folder.name for folder in store.path.glob("rollups*")] == ["rollups-one-in-2"]
    again = json.loads(CliRunner().invoke(app, [*asked, "-o", "json"]).stdout)
    assert (again["skipped"], again["samples"]) == (1, {"2023-11-14T22": 2})
    # Within a wider budget all is linked.
    assert (run(store, tmp_path / "out", most_spans=SPANS).analysed, run(store, tmp_path / "out").skipped) == (1, 1)


def test_alert_without_a_service_is_looked_for_within_the_budget(store: Store, tmp_path: Path) -> None:
    with duckdb_engine() as engine:
        found = rank_alerts(
            store, tmp_path / "out", [Alert(ALERT_NS), Alert(ALERT_NS, "web")], engine, most_spans=SPANS // 2
        )
    assert found["sample"].to_list() == [2, 1]
    assert [folder.name for folder in store.path.glob("rollups*")] == ["rollups-one-in-2"]


def test_budget_beside_a_sample_is_a_usage_error(store: Store, tmp_path: Path) -> None:
    asked = ["batch", "--store", str(store.path), "--out", str(tmp_path / "out"), "--most-spans", "10", "--sample", "2"]
    assert CliRunner().invoke(app, asked).exit_code == 2
