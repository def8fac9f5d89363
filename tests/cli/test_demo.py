"""`hypocenter demo`: the incident in the package is the labelled recording, and the answer is its label."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from hypocenter.cli.demo import CASE, TRUTH, demo
from hypocenter.errors import SourceError
from hypocenter.tracer.window import to_rfc3339

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def label() -> dict[str, Any]:
    lines = (ROOT / "sample_data/lab/CASES.jsonl").read_text(encoding="utf-8").splitlines()
    (found,) = (case for line in lines if (case := json.loads(line))["case"] == CASE)
    return dict(found)


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(demo)
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_incident_in_the_package_is_the_labelled_recording(label: dict[str, Any]) -> None:
    assert (ROOT / "hypocenter/demo_incident").resolve() == ROOT / "sample_data/lab/recordings" / CASE
    assert label["root_causes"][0] in TRUTH
    assert to_rfc3339(round(label["inject_time_epoch_s"] * 1000) * 10**6) in TRUTH


def test_demo_names_the_true_origin_and_writes_the_report(label: dict[str, Any], tmp_path: Path) -> None:
    done = run("--out", str(tmp_path / "out"))
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["caller", "callee", "kind", "calls", "errors", "p95"]
    assert ["catalog", "store-db", "database"] in [line.split()[:3] for line in lines]
    answer = next(line for line in lines if "origin" in line)
    assert answer.startswith(f"{label['root_causes'][0]} 9.0.0 (change)")
    report = tmp_path / "out" / "report.html"
    assert lines[-2:] == [f"report  {report}", f"store   {tmp_path / 'out' / 'store'}"]
    assert f"{label['root_causes'][0]} 9.0.0" in report.read_text(encoding="utf-8")
    assert TRUTH not in done.stdout
    assert TRUTH in done.stderr

    again = run("--out", str(tmp_path / "out"))
    assert again.stdout == done.stdout
    assert "nothing new" in again.stderr


def test_package_without_its_incident_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hypocenter.cli.demo.resources.files", lambda _name: tmp_path)
    with pytest.raises(SourceError, match="the recorded incident is not there; install hypocenter again"):
        run()
