"""Many alerts as one job: each ranked once, whatever is cut and run again, and none lost."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from small_incident import ALERT_NS, END_NS
from typer.testing import CliRunner

from hypocenter.analysis.ranking import Ranking
from hypocenter.batch import alerts
from hypocenter.batch.alerts import Alert, rank_alerts, read_alerts
from hypocenter.cli.main import app
from hypocenter.errors import DecodeError, SourceError
from hypocenter.graph.engine import duckdb_engine
from hypocenter.tracer.store import Store

SECOND_NS = 10**9


def test_each_alert_has_its_own_ranking_and_is_ranked_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [Alert(ALERT_NS + n * SECOND_NS, "web") for n in range(25)] + [Alert(END_NS + 10**15, "web")]
    with duckdb_engine() as engine:
        found = rank_alerts(store, tmp_path / "out", asked, engine)
        again = rank_alerts(store, tmp_path / "out", [*asked, *asked], engine)
    assert list(found.service[:25]) == ["payment"] * 25
    assert list(found.outcome) == ["ranked"] * 25 + ["failed"]
    assert found.error.iloc[-1].startswith("nothing around the alert's time")
    pd.testing.assert_frame_equal(found, again)
    candidates = pd.read_parquet(tmp_path / "out" / "candidates.parquet")
    assert set(candidates.incident) == set(found.incident[:25]) and found.incident.is_unique
    with monkeypatch.context() as patched, duckdb_engine() as engine:
        patched.setattr(alerts, "_rank", None)
        pd.testing.assert_frame_equal(rank_alerts(store, tmp_path / "out", asked, engine), found)


def test_sample_is_of_the_rollups_that_alerts_without_a_service_are_looked_for_in(store: Store, tmp_path: Path) -> None:
    asked, out = [Alert(ALERT_NS)], tmp_path / "out"
    with duckdb_engine() as engine:
        rank_alerts(Store(store.path, sample=2), out, asked, engine)
        assert [folder.name for folder in store.path.glob("rollups*")] == ["rollups-one-in-2"]
        rank_alerts(store, out, asked, engine)
    # What was found in a sample does not answer for the whole, and every row tells which it is of.
    assert pd.read_parquet(out / "incidents.parquet")["sample"].to_list() == [1]
    assert len(list((out / "alerts").iterdir())) == 2


def test_hours_are_rolled_up_by_the_engine_once_and_only_for_alerts_without_a_service(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(alerts, "_rank", lambda *_: Ranking("none", "no-origin"))
    with duckdb_engine() as engine:
        roll_up = engine.roll_up
        monkeypatch.setattr(
            engine, "roll_up", lambda *given, **options: asked.append(given) or roll_up(*given, **options)
        )
        rank_alerts(store, tmp_path / "named", [Alert(ALERT_NS + n, "web") for n in range(3)], engine)
        assert asked == []
        rank_alerts(store, tmp_path / "found", [Alert(ALERT_NS + n) for n in range(50)], engine)
        assert len(asked) == len(list((store.path / "rollups").glob("*/[!.]*"))) > 0


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), SourceError("no answer", retryable=True)])
def test_alert_that_cannot_be_ranked_for_now_costs_no_other_and_is_ranked_by_the_next_pass(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    rank = alerts._rank

    def broken(store: Store, alert: Alert, ranker: str) -> Ranking:
        if alert.at_ns == ALERT_NS:
            raise error
        return rank(store, alert, ranker)

    asked = [Alert(ALERT_NS, "web"), Alert(ALERT_NS + SECOND_NS, "web")]
    with duckdb_engine() as engine:
        with monkeypatch.context() as patched:
            patched.setattr(alerts, "_rank", broken)
            found = rank_alerts(store, tmp_path / "out", asked, engine)
        again = rank_alerts(store, tmp_path / "out", asked, engine)
    assert found.outcome.to_list() == ["failed", "ranked"] and again.outcome.to_list() == ["ranked", "ranked"]
    told = "no answer" if isinstance(error, SourceError) else "ZeroDivisionError: by zero"
    assert found.error.dropna().to_list() == [told] and again.service.to_list() == ["payment", "payment"]


def test_alerts_that_were_cut_go_on_where_they_ended(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_done: int, _total: int, _step: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(alerts, "_TOGETHER", 1)
    asked, told = [Alert(ALERT_NS + n * SECOND_NS, "web") for n in range(3)], list[tuple[int, int, str]]()
    with duckdb_engine() as engine:
        with pytest.raises(KeyboardInterrupt):
            rank_alerts(store, tmp_path / "out", asked, engine, progress=cut)
        found = rank_alerts(store, tmp_path / "out", asked, engine, progress=lambda *step: told.append(step))
    assert told == [
        (1, 2, "ranked 1 alerts from 2023-11-14T22:19:01Z on"),
        (2, 2, "ranked 1 alerts from 2023-11-14T22:19:02Z on"),
    ]
    assert found.service.to_list() == ["payment"] * 3


def test_file_of_alerts_is_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "alerts.csv"
    file.write_text("time,service\n2023-11-14T22:13:20Z,web\n1700000001,\n", encoding="utf-8")
    assert read_alerts(file) == [Alert(1_700_000_000 * SECOND_NS, "web"), Alert(1_700_000_001 * SECOND_NS)]
    file.write_text("time,service\n1700000001,web\nsoon,web\n", encoding="utf-8")
    with pytest.raises(DecodeError, match=r"alerts.csv: line 3: .*soon"):
        read_alerts(file)
    file.write_text("when\n1\n", encoding="utf-8")
    with pytest.raises(DecodeError, match="line 1: expected the columns time"):
        read_alerts(file)


def test_command_ranks_a_file_of_alerts(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "alerts.csv"
    file.write_text(f"time,service\n{ALERT_NS},web\n", encoding="utf-8")
    asked = ["batch", "--store", str(store.path), "--out", str(tmp_path / "out"), "--alerts", str(file)]
    text = CliRunner().invoke(app, [*asked, "--exit-code"])
    assert text.exit_code == 3 and "payment (service)" in text.stdout
    (incident,) = json.loads(CliRunner().invoke(app, [*asked, "-o", "json"]).stdout)["incidents"]
    assert (incident["service"], incident["symptom"]) == ("payment", "web")
    assert CliRunner().invoke(app, [*asked, "--since", "-1h"]).exit_code == 2
