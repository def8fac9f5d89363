"""Collectors whose store is on a real server of S3: acknowledged is there, once, whatever ends in the middle."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from object_storage import Bucket
from small_incident import START_NS, telemetry

sys.path.insert(0, str(Path(__file__).parents[1] / "tracer"))
sys.path.insert(0, str(Path(__file__).parents[1] / "proof"))
from collecting import collector
from loading import Clients, kill_all, numbered, trace_numbers

from hypocenter.errors import SourceError
from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.otlp.decode import decode
from hypocenter.tracer.store import Segment
from hypocenter.tracer.store.remote import RemoteStore, store_at
from hypocenter.tracer.store.remote_compact import _merge, compact_hours
from hypocenter.tracer.window import HOUR_NS, MINUTE_NS

pytestmark = pytest.mark.timeout(900)


def test_kills_under_load_lose_and_double_nothing(url: str, tmp_path: Path) -> None:
    with Clients() as clients:
        for number in range(3):
            (tmp_path / str(number)).mkdir()
            with collector(tmp_path / str(number) / "unused", store=url, upkeep={"every_s": 1}) as running:
                begun, clients.port = len(clients.acknowledged), running.ports["otlp-grpc"]
                until = time.monotonic() + 2
                while time.monotonic() < until or len(clients.acknowledged) == begun:
                    assert len(trace_numbers(store_at(url))) % 20 == 0, "a request is visible in part"
                clients.port = None
                kill_all(running)
            assert clients.acknowledged <= set(trace_numbers(store_at(url)))
    store = store_at(url)
    rows, calls = trace_numbers(store), roll_up_segments(store.paths("spans")).edges
    counted = calls.filter(pc.equal(calls["caller"], "caller"))
    assert pc.sum(counted["count"]).as_py() == len(set(rows)) and store.problems == []
    assert clients.final == [] and not (tmp_path / "0" / "unused").exists()


def test_storage_that_goes_away_is_answered_to_be_tried_again_and_takes_the_same_request_later(
    bucket: Bucket, url: str, tmp_path: Path
) -> None:
    request = numbered(0)
    (tmp_path / "of").mkdir()
    with collector(tmp_path / "of" / "unused", store=url) as running:
        assert running.post("/v1/traces", request).status == 200
        bucket.stop()
        refused = running.post("/v1/traces", numbered(1000))
        assert refused.status == 503 and refused.headers["retry-after"]
        bucket.start()
        assert running.post("/v1/traces", numbered(1000)).status == 200
    assert sorted(set(trace_numbers(store_at(url)))) == [*range(1, 11), *range(1001, 1011)]


def test_retention_of_a_collector_is_refused_where_the_bucket_says_what_is_kept(url: str, tmp_path: Path) -> None:
    (tmp_path / "of").mkdir()
    refused = collector(tmp_path / "of" / "unused", store=url, upkeep={"keep_hours": 24.0})
    with pytest.raises(AssertionError, match="the bucket's own rules"), refused:
        raise RuntimeError("it serves")


def _filled(url: str, segments: int = 12) -> tuple[RemoteStore, list[int]]:
    store = RemoteStore(url, create=True)
    for number in range(segments):
        rows = decode("traces", numbered(10 * number), "application/x-protobuf", "otlp")
        store.append(Batch({"spans": rows.table("spans")}), arrived_ns=START_NS + number)
    return store, sorted(trace_numbers(store))


def test_compaction_leaves_the_same_rows_in_one_object_and_deletes_the_small_ones_later(url: str) -> None:
    store, rows = _filled(url)
    assert len(store.segments("spans")) == 12
    # Just after the hour what was begun in it may still come.
    assert compact_hours(store, now_ns=(START_NS // HOUR_NS + 1) * HOUR_NS + 5 * MINUTE_NS).replaced == 0
    now = START_NS + 3 * HOUR_NS
    assert compact_hours(store, now_ns=now).replaced == 12
    assert compact_hours(RemoteStore(url), now_ns=now).replaced == 0
    for again in (store, RemoteStore(url)):
        assert len(again.segments("spans")) == 1 and sorted(trace_numbers(again)) == rows
    files, _ = store.listed("spans")
    compact_hours(store, now_ns=now + 2 * HOUR_NS)
    assert len(files) - len(store.listed("spans")[0]) == 12
    assert sorted(trace_numbers(store)) == rows and store.problems == []
    assert {segment.arrived_hour_ns for segment in store.segments("spans")} == {START_NS // HOUR_NS * HOUR_NS}


def test_two_compactions_that_saw_different_objects_double_nothing(url: str) -> None:
    store, rows = _filled(url)
    seen = store.segments("spans")
    now = START_NS + 3 * HOUR_NS
    for part in (seen[:8], seen[4:], seen):
        _merge(RemoteStore(url), "spans", part, now)
    assert sorted(trace_numbers(RemoteStore(url))) == rows
    # One of them counts, which is told by its name when they came in the same second; the next takes what it left.
    assert compact_hours(store, now_ns=now).replaced in (0, 5)
    assert sorted(trace_numbers(store)) == rows and len(store.segments("spans")) == 1


def test_append_that_fails_in_the_middle_shows_nothing_and_files_are_not_taken(
    bucket: Bucket, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RemoteStore(url, create=True)
    put, count = store.put_segment, []

    def cut(path: Path, signal: str, table: pa.Table) -> Segment:
        count.append(signal)
        if len(count) == 2:
            raise SourceError("the line is cut", retryable=True)
        return put(path, signal, table)

    with monkeypatch.context() as patched:
        patched.setattr(store, "put_segment", cut)
        with pytest.raises(SourceError, match="the line is cut"):
            store.append(telemetry())
    assert len(count) == 2 and [s for s in ("spans", "points") if store.segments(s)] == []
    with pytest.raises(SourceError, match="takes no files"):
        store.append(telemetry(), name="a-file")
