"""`hypocenter report`: one file, its path on standard output."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_incident as small
import typer
from typer.testing import CliRunner

from hypocenter.cli.report import report
from hypocenter.tracer.store import Store

app = typer.Typer()
app.command()(report)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("store")
    Store(path, create=True).append(small.telemetry())
    return str(path)


def test_report_is_one_file_whose_path_is_printed(store: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = CliRunner().invoke(app, ["--store", store, "--at", "2023-11-14T22:19:00Z", "--out", str(page)])
    assert (result.exit_code, result.stdout) == (0, f"{page}\n")
    text = page.read_text(encoding="utf-8")
    assert "payment (service) is very likely the origin</h1>" in text
    policy = text.split('http-equiv="Content-Security-Policy"')[1].split(">")[0]
    assert "default-src &#39;none&#39;" in policy and "connect-src" not in policy and "http" not in policy
    assert len(text) < 6_000_000


def test_same_incident_gives_the_same_bytes(store: str, tmp_path: Path) -> None:
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for page in pages:
        CliRunner().invoke(app, ["--store", store, "--at", "2023-11-14T22:19:00Z", "--out", str(page)])
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_path_that_cannot_be_written_is_a_usage_error(store: str, tmp_path: Path) -> None:
    arguments = ["--store", store, "--at", "2023-11-14T22:19:00Z", "--out", str(tmp_path / "none" / "page.html")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
