"""Results on a real server of S3: an hour's are there once it is done, whatever is cut, changed and changed back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hook_chain import wait_for
from small_incident import ALERT_NS, START_NS, telemetry

import hypocenter as hc
from hypocenter.batch import alerts, run
from hypocenter.batch.alerts import Alert, rank_alerts
from hypocenter.graph.engine import duckdb_engine
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store
from hypocenter.tracer.store.remote import filesystem_of
from hypocenter.tracer.window import HOUR_NS

pytestmark = pytest.mark.timeout(900)
# So few that one process does them, one after the other.
HOURS = 3


def _store(path: Path, suspects: list[str]) -> Store:
    """Return a store of an incident in each of some hours."""
    store = Store(path, create=True)
    for hour, suspect in enumerate(suspects):
        spans = telemetry(suspect=suspect).table("spans")
        columns = {name: spans[name] for name in spans.column_names}
        columns["start_ns"] = pc.add(spans["start_ns"], hour * HOUR_NS)
        columns["trace_id"] = pc.binary_replace_slice(spans["trace_id"], 0, 1, str(hour))
        store.append(Batch({"spans": pa.table(columns, spans.schema)}), arrived_ns=START_NS + hour * HOUR_NS)
    return store


def _there(url: str, suffix: str) -> list[str]:
    """Return the files at a URL that end with ``suffix``."""
    filesystem, path = filesystem_of(url)
    found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True))
    return sorted(info.path.removeprefix(f"{path}/") for info in found if info.is_file and info.path.endswith(suffix))


def _assert_same(url: str, expected: Path) -> None:
    filesystem, path = filesystem_of(url)
    files = sorted(file.relative_to(expected).as_posix() for file in expected.rglob("*") if file.is_file())
    assert _there(url, "") == files
    for name in (name for name in files if name.endswith(".parquet")):
        found = pq.read_table(f"{path}/{name}", filesystem=filesystem).to_pandas()
        pd.testing.assert_frame_equal(found, pd.read_parquet(expected / name))


def test_hour_that_changed_is_analysed_again_once_and_back_again_leaves_nothing_between(
    url: str, tmp_path: Path
) -> None:
    one, other = (_store(tmp_path / name, [name]) for name in ("payment", "other"))
    said = [run(store, url) for store in (one, other, other, one, one)]
    assert [(done.analysed, done.skipped) for done in said] == [(1, 0), (1, 0), (0, 1), (1, 0), (0, 1)]
    assert [done.incidents.service.to_list() for done in said] == [
        [s] for s in ("payment", *["other"] * 2, *["payment"] * 2)
    ]
    run(one, tmp_path / "expected")
    _assert_same(url, tmp_path / "expected")
    # Data that comes in later is one more change.
    one.append(telemetry(suspect="late"), arrived_ns=START_NS)
    assert [(done.analysed, done.skipped) for done in (run(one, url), run(one, url))] == [(1, 0), (0, 1)]


def test_job_whose_driver_is_killed_goes_on_from_the_hours_that_are_there(url: str, tmp_path: Path) -> None:
    store = _store(tmp_path / "store", [f"payment-{hour}" for hour in range(HOURS)])
    program = str(Path(sys.executable).with_name("hypocenter"))
    command = [program, "batch", "--store", str(store.path), "--out", url]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: _there(url, "/done"), "the results of an hour", 240)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    done = len(_there(url, "/done"))
    assert 0 < done < HOURS and "incidents.parquet" not in _there(url, "")
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith(f"{HOURS - done} hours analysed, {done} unchanged\n")
    expected = run(store, tmp_path / "expected")
    assert set(expected.incidents.service.dropna()) == {f"payment-{hour}" for hour in range(HOURS)}
    _assert_same(url, tmp_path / "expected")


def test_session_puts_a_pass_there(url: str, tmp_path: Path) -> None:
    store = _store(tmp_path / "store", ["payment"])
    done = hc.open(store.path).batch(url)
    assert done.page == f"{url}/index.html"
    assert _there(url, "index.html") == ["index.html"] and len(_there(url, ".html")) == 1 + len(done.incidents) == 2


def test_alerts_that_were_cut_go_on_from_the_groups_that_are_there(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_done: int, _total: int, _step: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(alerts, "_TOGETHER", 1)
    store, told = _store(tmp_path / "store", ["payment"]), list[int]()
    asked = [Alert(ALERT_NS + n, "web") for n in range(3)]
    with duckdb_engine() as engine:
        with pytest.raises(KeyboardInterrupt):
            rank_alerts(store, url, asked, engine, progress=cut)
        assert len(_there(url, "/done")) == 1
        found = rank_alerts(store, url, asked, engine, progress=lambda _, total, __: told.append(total))
        expected = rank_alerts(store, tmp_path / "expected", asked, engine)
    assert told == [2, 2] and found.service.to_list() == ["payment"] * 3
    pd.testing.assert_frame_equal(found, expected)
    _assert_same(url, tmp_path / "expected")
