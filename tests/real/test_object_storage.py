"""A store on a real server of S3: hours come whole and once, and a batch job reads it as any other store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from object_storage import Bucket
from small_incident import ALERT_NS, END_NS, START_NS, telemetry
from typer.testing import CliRunner

import hypocenter as hc
from hypocenter.analysis.ranker import create
from hypocenter.batch import run
from hypocenter.cli.main import app
from hypocenter.errors import SourceError
from hypocenter.graph.cache import rollups
from hypocenter.graph.rollup import SCHEMAS
from hypocenter.hook.telemetry import case_at
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SIGNALS
from hypocenter.tracer.store import Store
from hypocenter.tracer.store.compact import compact
from hypocenter.tracer.store.copy import copy_hours
from hypocenter.tracer.store.remote import RemoteStore, filesystem_of, store_at
from hypocenter.tracer.window import HOUR_NS, Window

pytestmark = pytest.mark.timeout(900)
LATER_NS = START_NS + 10 * HOUR_NS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store of an incident that arrived in two hours, in many segments."""
    store = Store(tmp_path / "store", create=True)
    whole = telemetry()
    spans = whole.table("spans")
    for part in range(8):
        rows = spans.slice(part * len(spans) // 8, len(spans) // 8)
        store.append(type(whole)({"spans": rows}), arrived_ns=START_NS + part % 2 * HOUR_NS)
    store.append(
        type(whole)({s: whole.tables[s] for s in SIGNALS if s != "spans" and s in whole.tables}), arrived_ns=START_NS
    )
    return store


def test_copied_hours_hold_the_same_rows_and_are_copied_once(store: Store, url: str) -> None:
    hours, _ = copy_hours(store, url, now_ns=LATER_NS)
    remote = store_at(url)
    assert isinstance(remote, RemoteStore) and hours > 2
    for signal in SIGNALS:
        assert remote.read(signal).equals(store.read(signal)), signal
        assert remote.bounds(signal) == store.bounds(signal)
    part = Window(START_NS + 10**9, START_NS + 60 * 10**9)
    assert remote.read("spans", part, ["span_id"]).equals(store.read("spans", part, ["span_id"]))
    # Compaction gives the rows new names; an hour that is there does not come once more.
    compact(store, now_ns=LATER_NS)
    assert copy_hours(store, url, now_ns=LATER_NS) == (0, 0)
    assert store_at(url).read("spans").num_rows == store.read("spans").num_rows


def test_hour_that_is_still_filling_is_not_copied(store: Store, url: str) -> None:
    copy_hours(store, url, now_ns=START_NS + HOUR_NS)
    over = [s for s in store.segments("spans") if s.arrived_hour_ns <= START_NS]
    assert store_at(url).read("spans").num_rows == sum(segment.rows for segment in over) < store.read("spans").num_rows


def test_copy_that_is_cut_shows_no_half_hour_and_is_made_whole_by_the_next(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypocenter.tracer.store import copy, remote

    put, puts = remote.put, []

    def cut(filesystem: pafs.FileSystem, path: str, content: bytes) -> None:
        puts.append(path)
        if len(puts) == 4:
            raise OSError("the line is cut")
        put(filesystem, path, content)

    with monkeypatch.context() as patched:
        patched.setattr(copy, "put", cut)
        with pytest.raises(SourceError, match="the line is cut"):
            copy_hours(store, url, now_ns=LATER_NS)
    assert store_at(url).read("spans").num_rows == 0
    # Meanwhile the local store was compacted: what had come belongs to nothing.
    compact(store, now_ns=LATER_NS)
    copy_hours(store, url, now_ns=LATER_NS)
    rows = store_at(url).read("spans")
    assert sorted(rows["span_id"].to_pylist()) == sorted(store.read("spans")["span_id"].to_pylist())


def test_two_stores_copied_to_one_place_are_one_store(store: Store, url: str, tmp_path: Path) -> None:
    other = Store(tmp_path / "other", create=True)
    other.append(telemetry(suspect="other"), arrived_ns=START_NS)
    for one in (store, other):
        copy_hours(one, url, now_ns=LATER_NS)
    both = [one.read("spans").num_rows for one in (store, other)]
    assert store_at(url).read("spans").num_rows == sum(both)


def test_rollups_are_kept_there_and_read_by_another_process(store: Store, url: str) -> None:
    copy_hours(store, url, now_ns=LATER_NS)
    remote, held = store_at(url), store.bounds("spans")
    assert held is not None
    hour = Window(held.start_ns // HOUR_NS * HOUR_NS, (held.start_ns // HOUR_NS + 1) * HOUR_NS)
    for coarse in (False, True):
        expected = rollups(store, hour, coarse=coarse)
        for found in (rollups(remote, hour, coarse=coarse), rollups(store_at(url), hour, coarse=coarse)):
            assert [n for n in SCHEMAS if not getattr(found, n).equals(getattr(expected, n))] == []


def test_batch_job_reads_and_writes_object_storage_as_it_does_a_disk_and_goes_on_there(
    store: Store, url: str, tmp_path: Path
) -> None:
    program = str(Path(sys.executable).with_name("hypocenter"))
    told, job = [], ["batch", "--store", url, "--out", f"{url}/lookback"]
    for command in (["store", "copy", str(store.path), url], job, job):
        done = subprocess.run([program, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.splitlines())
    assert [lines[0] for lines in told[1:]] == ["1 hours analysed, 0 unchanged", "0 hours analysed, 1 unchanged"]
    assert told[1][1:] == told[2][1:] and told[1][-1] == f"{url}/lookback/index.html"
    expected = run(store, tmp_path / "expected")
    assert len(expected.incidents) > 0
    filesystem, path = filesystem_of(url)
    for file in sorted((tmp_path / "expected").rglob("*.parquet")):
        there = f"{path}/lookback/{file.relative_to(tmp_path / 'expected')}"
        pd.testing.assert_frame_equal(pq.read_table(there, filesystem=filesystem).to_pandas(), pd.read_parquet(file))
    reports = [f"{path}/lookback/reports/{name}.html" for name in expected.incidents.incident]
    assert all(info.size > 1_000_000 for info in filesystem.get_file_info(reports))
    kept = filesystem.get_file_info(pafs.FileSelector(f"{path}/rollups", recursive=True))
    assert len([info for info in kept if info.is_file]) % 8 == 0 and len(kept) > 8


def test_pass_and_question_list_as_often_however_many_hours_there_are(bucket: Bucket, tmp_path: Path) -> None:
    counts = []
    for hours in (2, 6):
        store = RemoteStore(bucket.url(f"{hours}-hours"), create=True)
        spans = telemetry().table("spans")
        for hour in range(hours):
            moved = pc.add(spans["start_ns"], hour * HOUR_NS)
            rows = spans.set_column(spans.schema.get_field_index("start_ns"), spans.schema.field("start_ns"), moved)
            store.append(Batch({"spans": rows}), arrived_ns=START_NS + hour * HOUR_NS)
        before = bucket.listings()
        assert run(store, tmp_path / f"{hours}").analysed == hours
        after = bucket.listings()
        hc.open(store.place).graph()
        counts.append((after - before, bucket.listings() - after))
    # Each of six signals by the pass and by the process that ranks; once each by a graph of all that there is.
    assert counts == [(12, 6)] * 2


def test_session_asks_object_storage_as_it_asks_a_disk(store: Store, url: str) -> None:
    copy_hours(store, url, now_ns=LATER_NS)
    there, here = hc.open(url), hc.open(store.path)
    assert there.graph().to_json() == here.graph().to_json()
    assert there.rank(at=ALERT_NS, symptom="web").ranking == here.rank(at=ALERT_NS, symptom="web").ranking


# Each as a person would say it of a folder, the place left out.
COMMANDS = {
    "graph": "graph --ways payment -o json",
    "diff": "diff --before {start}/{alert} --after {alert}/{end} -o json",
    "trace": "trace {trace} -o json",
    "doctor": "doctor -o json",
    "rank": "rank --at {alert} -o json",
    "spans": "export spans --format csv",
    "calls": "export calls --format csv",
    "ranking": "export ranking",
    "changes": "changes -o json",
}


@pytest.fixture(scope="module")
def both(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return a store on a disk, and where its copy is on object storage."""
    store = Store(tmp_path_factory.mktemp("both") / "store", create=True)
    store.append(telemetry(), arrived_ns=START_NS)
    copy_hours(store, bucket.url("both"), now_ns=LATER_NS)
    return str(store.path), bucket.url("both")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_prints_of_a_url_what_it_prints_of_a_folder(command: str, both: tuple[str, str]) -> None:
    here, there = both
    trace = Store(here).read("spans", columns=["trace_id"])["trace_id"][0].as_py()
    said = COMMANDS[command].format(start=START_NS, alert=ALERT_NS, end=END_NS, trace=trace).split()
    local, remote = (CliRunner().invoke(app, [*said, "--store", place]) for place in (here, there))
    assert (remote.exit_code, remote.stdout) == (0, local.stdout)
    assert len(local.stdout) > 2


def test_report_and_investigation_of_a_url_name_the_origin_and_the_url(both: tuple[str, str], tmp_path: Path) -> None:
    _, there = both
    report = ["report", "--store", there, "--out", f"{tmp_path}/report.md", "--at", str(ALERT_NS)]
    notebook = ["investigate", there, "--notebook", f"{tmp_path}/incident.ipynb", "--at", str(ALERT_NS)]
    for said in (report, notebook):
        assert CliRunner().invoke(app, said, catch_exceptions=False).exit_code == 0
    assert "payment" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert there in (tmp_path / "incident.ipynb").read_text(encoding="utf-8")


def test_report_and_export_are_put_where_a_url_says_and_not_when_they_fail(both: tuple[str, str]) -> None:
    _, there = both
    report = ["report", "--store", there, "--out", f"{there}/results/report.md", "--at", str(ALERT_NS)]
    spans = ["export", "spans", "--store", there, "--out", f"{there}/results/spans.parquet"]
    wrong = ["export", "spans", "--store", there, "--out", f"{there}/results/none.csv", "--since", "tomorrow"]
    assert [CliRunner().invoke(app, said).exit_code for said in (report, spans, wrong)] == [0, 0, 2]
    filesystem, path = filesystem_of(there)
    found = filesystem.get_file_info(pafs.FileSelector(f"{path}/results"))
    assert sorted(info.base_name for info in found) == ["report.md", "spans.parquet"]
    table = pq.read_table(f"{path}/results/spans.parquet", filesystem=filesystem)
    assert table.num_rows == store_at(there).read("spans").num_rows
    with filesystem.open_input_file(f"{path}/results/report.md") as file:
        assert b"payment" in file.read()


def test_check_reads_every_page_there_and_info_counts_them(both: tuple[str, str]) -> None:
    for command in ("check", "info"):
        local, remote = (CliRunner().invoke(app, ["store", command, place, "-o", "json"]) for place in both)
        assert (remote.exit_code, json.loads(remote.stdout)) == (0, json.loads(local.stdout))


def test_alert_is_ranked_from_a_url_as_from_a_folder(both: tuple[str, str]) -> None:
    found = [case_at({"store": place}, ALERT_NS, END_NS, "web", 400_000, 1.0) for place in both]
    here, there = (create("hypocenter").rank(case) for case in found)
    assert here == there and here.candidates[0].service == "payment"


def test_place_without_a_store_and_storage_that_does_not_answer_are_errors_with_a_remedy(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match="not a hypocenter store; copy one there"):
        store_at(url)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(SourceError) as refused:
        store_at(url)
    assert refused.value.retryable
