"""`hypocenter rank`: data on standard output, the contract of its exit codes, usage errors that name the option."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_incident as small
import typer
from typer.testing import CliRunner

from hypocenter.cli.answers import FOUND
from hypocenter.cli.rank import rank
from hypocenter.errors import SourceError
from hypocenter.tracer.store import Store

app = typer.Typer()
app.command()(rank)
ALERT = ("--at", "2023-11-14T22:19:00Z")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("store")
    Store(path, create=True).append(small.telemetry())
    return str(path)


def run(store: str, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["--store", store, *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_text_begins_with_the_answer(store: str) -> None:
    code, out, err = run(store, *ALERT)
    assert code == 0
    assert out.splitlines()[0].startswith("payment (service) is ")
    assert err == ""


def test_json_is_the_ranking_and_nothing_else(store: str) -> None:
    code, out, _ = run(store, *ALERT, "-o", "json")
    found = json.loads(out)
    assert (code, found["ranker"], found["outcome"], found["candidates"][0]["service"]) == (
        0,
        "hypocenter",
        "ranked",
        "payment",
    )


def test_finding_has_its_own_exit_code_only_when_asked(store: str) -> None:
    assert (run(store, *ALERT)[0], run(store, *ALERT, "--exit-code")[0]) == (0, FOUND)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--at", "soon"), "--at"),
        (("--since", "x", "--until", "now"), "--since"),
        (("--ranker", "best"), "unknown ranker 'best'; known: hypocenter"),
        (("-o", "xml"), "'xml' is not one of 'text', 'json'"),
        (("--baseline-since", "-2h"), "--baseline-until"),
    ],
)
def test_usage_error_names_the_option_and_exits_with_2(store: str, arguments: tuple[str, ...], named: str) -> None:
    code, out, err = run(store, *arguments)
    assert (code, out) == (2, "")
    assert named in " ".join(err.replace("│", " ").split())


def test_folder_that_is_no_store_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="hypocenter ingest"):
        run(str(tmp_path))
