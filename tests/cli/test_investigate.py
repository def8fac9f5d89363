"""A notebook for one incident: it runs as it was written, and names from telemetry stay text."""

from __future__ import annotations

import ast
import sys
import webbrowser
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1]))

import small_incident as small

import hypocenter as hc
from hypocenter.cli.main import app
from hypocenter.incident import RankedIncident
from hypocenter.notebook import write_notebook
from hypocenter.tracer.store import Store

SAMPLE = Path(__file__).parents[2] / "sample_data" / "incidents" / "slow-service-payment-1"
HOSTILE = "x'\"); import os  #\n```\n<img src=x onerror=alert(1)>"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["investigate", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.slow
def test_telemetry_becomes_a_notebook_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "slow.ipynb"
    report, link = tmp_path / "report.html", "Jaeger=http://jaeger:16686/trace/{trace_id}"
    asked = ["--at", "2026-11-24T15:31:30Z", "--notebook", path, "--report", report, "--link", link]
    done = run(SAMPLE, *asked)
    assert done.exit_code == 0
    assert report.read_text(encoding="utf-8").count('href="http://jaeger:16686/trace/') == 2
    assert done.stdout.splitlines()[0].startswith("payment (service) is ")
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.startswith("# payment \\(service\\) is ")
    nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
    shown = [o.data for cell in notebook.cells for o in cell.get("outputs", ()) if "data" in o]
    assert sum("application/vnd.plotly.v1+json" in data for data in shown) >= 6
    assert (tmp_path / "slow.html").exists() or Path("slow.html").exists()
    Path("slow.html").unlink(missing_ok=True)


def test_a_store_is_taken_as_it_is_and_relative_times_become_absolute(tmp_path: Path) -> None:
    Store(tmp_path / "store", create=True).append(small.telemetry())
    done = run(tmp_path / "store", "--at", small.ALERT_NS, "--notebook", tmp_path / "a.ipynb", "--symptom", "web")
    code = [c.source for c in nbformat.read(tmp_path / "a.ipynb", 4).cells if c.cell_type == "code"]
    assert done.exit_code == 0
    assert code[0].splitlines()[-2:] == [
        "incident = session.rank(at='2023-11-14T22:19:00Z', symptom='web')",
        "incident",
    ]
    assert [name.name for name in tmp_path.iterdir() if name.is_dir()] == ["store"]


def test_report_is_shown_where_there_is_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "store", create=True).append(small.telemetry())
    shown: list[str] = []
    asked = [tmp_path / "store", "--at", small.ALERT_NS, "--report", tmp_path / "a b.html", "--open"]
    for has_browser, says in ((True, 0), (False, 1)):
        monkeypatch.setattr(webbrowser, "open", lambda url, has=has_browser: (shown.append(url), has)[1])
        done = run(*asked)
        assert (done.exit_code, done.stderr.count("no browser to show it with")) == (0, says)
    assert shown == [(tmp_path / "a b.html").as_uri()] * 2
    refused = run(tmp_path / "store", "--open")
    assert refused.exit_code == 2 and "--report" in refused.stderr


def test_what_telemetry_wrote_is_text_in_every_cell(tmp_path: Path) -> None:
    Store(tmp_path / "store", create=True).append(small.telemetry(HOSTILE))
    incident = RankedIncident(small.ranking(HOSTILE), small.case(small.telemetry(HOSTILE)))
    path = write_notebook(hc.open(tmp_path / "store"), incident, tmp_path / "b.ipynb", HOSTILE)
    cells = nbformat.read(path, 4).cells
    assert [cell for cell in cells if cell.cell_type == "markdown" and "<img" in cell.source.replace("\\<", "")] == []
    code = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    imported = {
        alias.name for tree in code for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    assert imported == {"hypocenter"}
