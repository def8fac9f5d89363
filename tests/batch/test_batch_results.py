"""Where results go: a task's are there whole once it is done, and what they replace is gone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small_incident import START_NS, telemetry

from hypocenter.batch import run
from hypocenter.batch.results import Results
from hypocenter.errors import SourceError
from hypocenter.tracer.store import Store


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_a_task_found_replaces_what_it_found_before_and_nothing_else(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for hour in ("1", "11"):
        files = {f"hours/{hour}/old/a": hour.encode(), f"reports/{hour}-x": b"x"}
        results.publish(files, f"hours/{hour}/old", [f"hours/{hour}/", f"reports/{hour}-"])
    again = Results(f"file://{tmp_path}")
    assert again.is_done("hours/1/old") and not again.is_done("hours/1/new")
    again.publish({"hours/1/new/b": b"3"}, "hours/1/new", ["hours/1/", "reports/1-"])
    assert _names(tmp_path) == [
        "hours/1/new/b",
        "hours/1/new/done",
        "hours/11/old/a",
        "hours/11/old/done",
        "reports/11-x",
    ]
    assert Results(tmp_path).read(["hours/11/old/a", "hours/1/new/b"]) == [b"11", b"3"]


def test_task_that_is_cut_while_its_results_are_put_is_not_done_under_any_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(tmp_path)
    results.publish({"hours/1/old/a": b"1"}, "hours/1/old", ["hours/1/"])
    put = results.put

    def cut(name: str, content: bytes) -> None:
        put(name, content)
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "put", cut)
    with pytest.raises(KeyboardInterrupt):
        results.publish({"hours/1/new/a": b"1", "hours/1/new/b": b"1"}, "hours/1/new", ["hours/1/"])
    again = Results(tmp_path)
    assert not again.is_done("hours/1/old") and not again.is_done("hours/1/new")


def test_two_passes_at_once_over_other_data_do_not_mix_their_tables(tmp_path: Path) -> None:
    first, second = Results(tmp_path), Results(tmp_path)
    for results, key in ((first, "one"), (second, "two")):
        results.publish({f"hours/1/{key}/a": key.encode()}, f"hours/1/{key}", ["hours/1/"])
    found = Results(tmp_path)
    assert found.is_done("hours/1/one") and found.is_done("hours/1/two")
    assert found.read(["hours/1/one/a", "hours/1/two/a"]) == [b"one", b"two"]


def test_pass_reads_the_tables_of_hours_and_no_report_of_earlier_ones(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, tmp_path)
    asked: list[str] = []
    content = Results._content
    monkeypatch.setattr(Results, "_content", lambda self, name: asked.append(name) or content(self, name))
    assert run(store, tmp_path).skipped == 1
    tables = ("incidents", "candidates", "edges", "coverage")
    (folder,) = (tmp_path / "hours" / "2023-11-14T22").iterdir()
    assert sorted(asked) == sorted(f"hours/2023-11-14T22/{folder.name}/{name}.parquet" for name in tables)


def test_data_that_changes_and_changes_back_leaves_nothing_of_what_was_between(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other", create=True)
    other.append(telemetry(suspect="other"), arrived_ns=START_NS)
    out, expected = tmp_path / "out", run(store, tmp_path / "expected")
    services = [run(one, out).incidents.service.to_list() for one in (store, other, store)]
    assert services == [["payment"], ["other"], ["payment"]]
    assert _names(out) == _names(tmp_path / "expected")
    for file in sorted((tmp_path / "expected").rglob("*.parquet")):
        found = pd.read_parquet(out / file.relative_to(tmp_path / "expected"))
        pd.testing.assert_frame_equal(found, pd.read_parquet(file))
    assert (run(store, out).skipped, len(expected.incidents)) == (1, 1)


def test_place_that_cannot_be_written_is_an_error_that_names_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(SourceError, match=r"taken: cannot (read|write) the results: "):
        run(store, tmp_path / "taken")
    with pytest.raises(SourceError, match=r"gs://bucket/results: expected a path of this machine"):
        run(store, "gs://bucket/results")
