"""A place is a path, a file:// URL of this machine, or object storage: alike everywhere, and never a folder `s3:`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_incident import ALERT_NS, START_NS, telemetry
from typer.testing import CliRunner

import hypocenter as hc
from hypocenter.cli.main import app, main
from hypocenter.errors import SourceError
from hypocenter.sources import open_live
from hypocenter.tracer.store import Store
from hypocenter.tracer.store.places import is_remote, path_of, text_of
from hypocenter.tracer.store.remote import store_at

URL = "s3://bucket/telemetry"
REMEDY = f"{URL}: expected a folder; write to a folder, then copy it there: hypocenter store copy FOLDER {URL}"


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("telemetry", "telemetry"),
        ("/var/tele%20metry", "/var/tele%20metry"),
        ("./a:/b", "a:/b"),
        ("file:///var/tele%20metry", "/var/tele metry"),
        ("FILE:///var", "/var"),
        ("file:/var", "/var"),
        ("file://localhost/var", "/var"),
        (Path("file:///var/store"), "/var/store"),
    ],
)
def test_path_and_file_url_name_a_path_of_this_machine(place: Path | str, path: str) -> None:
    assert path_of(place) == Path(path)
    assert not is_remote(place)


@pytest.mark.parametrize("place", ["file://host/var", "gs://bucket/store", URL, Path(URL)])
def test_url_of_elsewhere_names_no_path(place: Path | str) -> None:
    with pytest.raises(SourceError, match=r"expected .*file:///PATH"):
        path_of(place)


def test_url_of_object_storage_is_known_though_it_was_made_a_path() -> None:
    assert is_remote(URL) and is_remote(Path(URL)) and text_of(Path(URL)) == URL


WRITERS: dict[str, Callable[[], object]] = {
    "Store": lambda: Store(URL, create=True),
    "path": lambda: Store(Path(URL), create=True),
    "ingest": lambda: hc.ingest("traces.json", URL),
    "open_live": lambda: open_live(store=URL, jaeger="http://127.0.0.1:9"),
    "open": lambda: hc.open(URL, jaeger="http://127.0.0.1:9"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_store_that_is_written_by_files_or_pulls_is_a_folder_and_the_remedy_is_told(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as refused:
        WRITERS[writer]()
    assert str(refused.value) == REMEDY and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ["ingest", "traces.json", "--store", URL],
        ["pull", "jaeger", "http://127.0.0.1:9", "--store", URL],
        ["store", "prune", URL, "--before", "-7d"],
        ["store", "copy", URL, "s3://other/place"],
    ],
)
def test_command_that_needs_a_folder_says_so_of_a_url(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("traces.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["hypocenter", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err.splitlines()[-1]) == (1, f"hypocenter: {REMEDY}")
    assert [path.name for path in tmp_path.iterdir()] == ["traces.json"]


def test_file_url_is_the_folder_or_file_it_names_for_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Store(tmp_path / "my store", create=True).append(telemetry(), arrived_ns=START_NS)
    store, there = (tmp_path / "my store").as_uri(), tmp_path.as_uri()
    (tmp_path / "traces.csv").write_text("not,spans\n1,2\n", encoding="utf-8")
    at = ["--at", str(ALERT_NS)]
    for command in (
        ["store", "info", store],
        ["store", "compact", store],
        ["export", "spans", "--store", store, "--out", f"{there}/out/spans.csv"],
        ["report", "--store", store, "--out", f"{there}/out/report.md", *at],
        ["investigate", store, *at],
    ):
        (tmp_path / "out").mkdir(exist_ok=True)
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (command, done.output)
    CliRunner().invoke(app, ["ingest", "traces.csv", "--store", f"{there}/ingested"])
    session = hc.open(store)
    assert session.store.path == store_at(store).path == tmp_path / "my store"
    session.rank(at=ALERT_NS, symptom="web").report(f"{there}/out/session.md")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.md", "session.md", "spans.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ingested", "my store", "out", "traces.csv"]


def test_report_of_a_session_is_not_put_on_object_storage_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Store(tmp_path / "store", create=True).append(telemetry(), arrived_ns=START_NS)
    with pytest.raises(SourceError, match=r"s3://bucket/report\.html: expected a path of this machine"):
        hc.open(tmp_path / "store").report("s3://bucket/report.html", at=ALERT_NS, symptom="web")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
