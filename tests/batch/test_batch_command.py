"""What `hypocenter batch` says while it works and when it is done, and how it goes on at an interval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_incident import ALERT_NS, START_NS, telemetry
from typer.testing import CliRunner

import hypocenter.batch
from hypocenter.cli.main import app
from hypocenter.errors import SourceError
from hypocenter.tracer.store import Store


def _asked(store: Store, tmp_path: Path, *options: str) -> list[str]:
    return ["batch", "--store", str(store.path), "--out", str(tmp_path / "out"), *options]


def test_log_of_a_job_tells_each_hour_and_each_group_of_alerts_once_it_is_done(store: Store, tmp_path: Path) -> None:
    alerts = tmp_path / "alerts.csv"
    alerts.write_text(f"time,service\n{ALERT_NS},web\n{ALERT_NS + 1},web\n", encoding="utf-8")
    done = CliRunner().invoke(app, _asked(store, tmp_path))
    assert done.stderr.splitlines() == ["1 of 2: rolled up 2023-11-14T22", "2 of 2: ranked 2023-11-14T22: 1 incidents"]
    done = CliRunner().invoke(app, _asked(store, tmp_path, "--alerts", str(alerts)))
    assert done.stderr.splitlines() == ["2 of 2: ranked 2 alerts from 2023-11-14T22:19:00Z on"]


def test_pass_at_an_interval_that_fails_is_told_and_the_next_goes_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, passes, waited = hypocenter.batch.run, list[Any](), list[float]()

    def failing(*given: Any) -> Any:
        passes.append(given)
        if len(passes) < 3:
            raise SourceError("the storage does not answer", retryable=len(passes) == 1)
        return run(*given)

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(hypocenter.batch, "run", failing)
    monkeypatch.setattr("hypocenter.cli.batch.time.sleep", wait)
    done = CliRunner().invoke(app, _asked(store, tmp_path, "--every", "15m"))
    assert waited == [900, 900, 900]
    told = "hypocenter: the storage does not answer; the next pass is in 900 s"
    assert done.stderr.splitlines()[:2] == [told, told]
    assert done.stdout.startswith("1 hours analysed, 0 unchanged\n") and "payment (service)" in done.stdout


def test_names_of_telemetry_do_not_steer_the_terminal(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    store.append(telemetry(suspect="pay\x1b[2Jment"), arrived_ns=START_NS)
    alerts = tmp_path / "alerts.csv"
    alerts.write_text(f"time,service\n{ALERT_NS},we\x1bb\n", encoding="utf-8")
    found = [CliRunner().invoke(app, _asked(store, tmp_path, *more)) for more in ((), ("--alerts", str(alerts)))]
    assert "pay\N{REPLACEMENT CHARACTER}[2Jment (service)" in found[0].stdout
    assert "felt: we\N{REPLACEMENT CHARACTER}b" in found[1].stdout
    assert not any("\x1b" in one.output for one in found)


def test_ranker_without_probabilities_names_an_origin_and_no_number(store: Store, tmp_path: Path) -> None:
    (line,) = CliRunner().invoke(app, _asked(store, tmp_path, "--ranker", "max-z")).stdout.splitlines()[1:-1]
    assert ")  felt: " in line and "nan" not in line and "%  felt" not in line
    told = json.loads(CliRunner().invoke(app, _asked(store, tmp_path, "--ranker", "max-z", "-o", "json")).stdout)
    assert [(one["outcome"], one["probability"]) for one in told["incidents"]] == [("ranked", None)]
