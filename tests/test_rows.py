"""Rows stay in the store until they are asked for: counted, looked at, condensed, and refused as a frame too large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import small_incident as small

import hypocenter as hc
from hypocenter.errors import SourceError
from hypocenter.rows import Rows, condition
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store

SEGMENTS = 8


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> hc.Session:
    store = Store(tmp_path_factory.mktemp("store") / "store", create=True)
    telemetry = small.telemetry()
    spans = telemetry.table("spans")
    part = spans.num_rows // SEGMENTS
    for number in range(SEGMENTS):
        store.append(Batch({"spans": spans.slice(number * part, part)}))
    store.append(Batch({"logs": telemetry.table("logs")}))
    return hc.Session(store)


@pytest.fixture
def read(session: hc.Session, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The columns of every batch that is read from the store."""
    seen: list[tuple[str, ...]] = []
    scan = session.store.scan

    def counted(*given: Any) -> Iterator[pa.RecordBatch]:
        for batch in scan(*given):
            seen.append(tuple(batch.schema.names))
            yield batch

    monkeypatch.setattr(session.store, "scan", counted)
    return seen


def test_asking_reads_nothing_and_a_look_reads_no_more_than_it_shows(
    session: hc.Session, read: list[tuple[str, ...]]
) -> None:
    spans = session.spans(service="payment")
    assert read == []
    assert list(spans.head(3, ["service", "start_ns"]).columns) == ["service", "start"]
    assert 0 < len(read) < SEGMENTS
    assert set(read) == {("service", "start_ns")}


def test_rows_are_counted_by_their_condition_and_show_themselves(
    session: hc.Session, read: list[tuple[str, ...]]
) -> None:
    failed = session.spans(service="payment", error=True, where="kind = 2")
    assert repr(failed) == ("<45 spans where (kind = 2) AND service = 'payment' AND (status = 2); all time>")
    assert set(read) == {("kind", "service", "status")}
    assert "45 spans" in failed._repr_html_() and failed._repr_html_().count("<tr>") == 10
    everything = session.spans()
    read.clear()
    assert (len(everything), read) == (3840, [])  # from footers alone


def test_frame_has_times_and_only_the_columns_asked_for(session: hc.Session) -> None:
    frame = session.logs(service="payment").to_frame(["time_ns", "body"])
    assert frame.dtypes.astype(str).to_dict() == {"time": "datetime64[ns, UTC]", "body": frame.body.dtype.name}
    assert frame.body.tolist() == ["card refused"] * 45
    assert frame.time.min() >= pd.Timestamp(small.ONSET_NS, tz="UTC")


def test_nothing_is_a_frame_without_rows(session: hc.Session) -> None:
    frame = session.spans(service="nobody").to_frame(["name", "duration_ns"])
    assert (len(frame), list(frame.columns)) == (0, ["name", "duration_ns"])


def test_a_frame_that_is_too_large_is_refused_with_what_to_do(session: hc.Session) -> None:
    with pytest.raises(SourceError, match=r"3,840 spans are more than 1,000; .*to_frame\(most=3840\)"):
        session.spans().to_frame(most=1000)


def test_a_query_condenses_rows_where_they_are(session: hc.Session) -> None:
    spans = session.spans(service="payment")
    sql = f"SELECT kind, count(*) AS n FROM rows WHERE {spans.filtered} GROUP BY kind ORDER BY kind"
    assert spans.query(sql, ["kind", "service"]).to_pylist() == [{"kind": 2, "n": 480}, {"kind": 3, "n": 480}]
    with pytest.raises(SourceError, match=r"spans: .*nope"):
        spans.query("SELECT nope FROM rows")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("tenant = 'a'", "spans have no tenant; they have trace_id, "),
        ("kind =", "no condition in SQL"),
        ("kind = 2; DROP TABLE rows", "no condition in SQL"),
    ],
)
def test_condition_that_cannot_be_met_says_why(session: hc.Session, where: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        session.spans(where=where)


@pytest.mark.parametrize(
    ("where", "is_read"),
    [
        ("service = 'payment'", {"payment"}),
        ("(service = 'payment' AND name LIKE 'POST%') AND duration_ns >= 1e6", {"payment"}),
        ("service = 'payment' OR service = 'web'", None),
        ("service <> 'payment' AND status = 2", None),
        ("duration_ns > 2.5e7 AND duration_ns < 123456789012345678", None),
        ("http_status >= 500 OR http_status IS NULL", None),
    ],
)
def test_reading_less_finds_the_same_rows(
    session: hc.Session, monkeypatch: pytest.MonkeyPatch, where: str, is_read: set[str] | None
) -> None:
    read: list[str] = []
    scan = session.store.scan

    def watched(*given: Any) -> Iterator[pa.RecordBatch]:
        for batch in scan(*given):
            read.extend(batch.column("service").to_pylist())
            yield batch

    monkeypatch.setattr(session.store, "scan", watched)
    columns = ["service", "span_id", "duration_ns"]
    found = session.spans(where=where).to_arrow(columns)
    assert is_read is None or set(read) == is_read
    every = session.spans()
    whole = every.query(f"SELECT {', '.join(columns)} FROM rows WHERE {where}")
    assert found.num_rows
    assert found.sort_by("span_id").to_pydict() == whole.sort_by("span_id").to_pydict()


def test_names_in_conditions_stay_names(session: hc.Session) -> None:
    asked = condition(service="x' OR 'a' = 'a")
    assert asked == "service = 'x'' OR ''a'' = ''a'"
    assert len(Rows(session.store, "spans", where=asked)) == 0


def test_traces_take_a_condition_in_sql(session: hc.Session) -> None:
    slow = session.traces(where="service = 'payment' AND duration_ns > 400e6", limit=1000)
    assert set(slow.index) == set(session.traces(service="payment", longer_than_s=0.4, limit=1000).index)
    assert slow.spans.tolist() == [8] * len(slow) and slow.duration_s.is_monotonic_decreasing
