"""Parquet, Arrow and CSV of our own schemas go in and come out the same."""

import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.errors import DecodeError
from hypocenter.tracer.batch import Batch, concat, table_of
from hypocenter.tracer.detect import decode, detect
from hypocenter.tracer.schema import LOGS, POINTS, SERIES, SPANS
from hypocenter.tracer.source import Source, decompressed

START = 1_700_000_000 * 10**9


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def arrow_stream(table: pa.Table) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def arrow_file(table: pa.Table) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def csv(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pyarrow.csv.write_csv(table, file)
    return file.getvalue()


WRITERS = [parquet, arrow_stream, arrow_file]


def read(content: bytes) -> tuple[str, Batch]:
    source = Source("x", decompressed(io.BytesIO(content)))
    reader = detect(source)
    return reader.NAME, concat(decode(source, reader))


TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
ROW = st.tuples(
    TEXT, st.sampled_from([None, "web"]), st.integers(0, 5), st.dictionaries(TEXT, st.just('"1"'), max_size=2)
)


@pytest.mark.parametrize("write", WRITERS)
@given(rows=st.lists(ROW, min_size=1, max_size=4))
def test_spans_come_back_as_they_were(
    write: Callable[[pa.Table], bytes], rows: list[tuple[str, str | None, int, dict[str, str]]]
) -> None:
    names, services, kinds, attributes = zip(*rows, strict=True)
    columns = {
        "trace_id": "t",
        "span_id": "s",
        "name": names,
        "service": services,
        "kind": kinds,
        "status": 2,
        "start_ns": START,
        "duration_ns": 7,
        "adjusted_milli": 4000,
        "attributes": [list(own.items()) for own in attributes],
        "links": [[{"trace_id": "a", "span_id": "b"}]] * len(rows),
        "source": "there",
    }
    spans = table_of(SPANS, columns, len(rows))
    found = read(write(spans))[1].table("spans")
    assert found.equals(spans)


@pytest.mark.parametrize("write", [*WRITERS, csv])
def test_signals_are_told_by_their_columns(write: Callable[[pa.Table], bytes]) -> None:
    tables = {
        "series": table_of(SERIES, {"series_id": "i", "name": "cpu", "kind": "gauge", "source": "x"}, 1),
        "points": table_of(POINTS, {"series_id": "i", "time_ns": START, "value": 0.5}, 1),
        "logs": table_of(LOGS, {"time_ns": START, "severity": 9, "body": "a\nb", "source": "x"}, 1),
    }
    for signal, table in tables.items():
        # CSV cannot say maps: a table without any is the same in all forms.
        plain = table.drop_columns([name for name in ("attributes",) if name in table.column_names])
        batch = read(write(plain))[1]
        assert {name: found.to_pylist() for name, found in batch.tables.items()} == {signal: table.to_pylist()}


def test_other_types_become_those_of_the_schema() -> None:
    given = pa.table(
        {
            "trace_id": pa.array(["t", "t", None]).dictionary_encode(),
            "span_id": ["1", "2", "3"],
            "start_ns": pa.array([START // 1000] * 3, pa.timestamp("us", "UTC")),
            "duration_ns": pa.array([5, None, 5], pa.duration("ms")),
            "kind": ["SPAN_KIND_CLIENT", "server", "?"],
            "status": ["STATUS_CODE_ERROR", "ok", ""],
            "attributes": [{"a": 1, "b": None}, {"a": None, "b": "x"}, None],
        }
    )
    batch = read(parquet(given))[1]
    columns = ["start_ns", "duration_ns", "kind", "status", "attributes", "name", "adjusted_milli", "source"]
    assert batch.table("spans").select(columns).to_pylist() == [
        dict(zip(columns, (START, 5_000_000, 3, 2, [("a", "1")], "", 1000, "x"), strict=True)),
        dict(zip(columns, (START, 0, 2, 1, [("b", '"x"')], "", 1000, "x"), strict=True)),
    ]
    assert batch.tally.dropped == {"row of spans without trace_id, span_id, start_ns, source": 1}
    assert batch.tally.repaired == {"duration missing": 1}


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"columns: of no signal .*--map"):
        read(parquet(pa.table({"a": [1]})))
    with pytest.raises(DecodeError, match="row 1: broken"):
        read(parquet(pa.table({"a": [1]}))[:-20])
    with pytest.raises(DecodeError, match=r"column trace_id: .*cannot become string"):
        read(parquet(pa.table({"trace_id": [[1]], "span_id": ["s"], "start_ns": [1], "duration_ns": [1]})))


def test_skywalking_parents_lie_in_the_segment_or_in_its_reference() -> None:
    header = "trace_id,segment_id,span_id,parent_span_id,service_code,type,layer,is_error,start_time,end_time,refs,peer"
    rows = [
        "T,A,0,-1,web,Entry,Http,0,1700000000000,1700000000009,,",
        "T,A,1,0,web,Exit,MQ,0,1700000000001,1700000000003,,kafka:9092",
        'T,B,0,-1,cart,Entry,MQ,1,1700000000002,1700000000001,"[{""parentSegmentId"":""A"",""parentSpanId"":1}]",',
        "T,B,x,-1,cart,Entry,MQ,1,1700000000002,1700000000001,,",
    ]
    name, batch = read("\n".join([header, *rows]).encode())
    columns = ["span_id", "parent_span_id", "service", "kind", "status", "duration_ns", "peer_address"]
    assert (name, [tuple(row.values()) for row in batch.table("spans").select(columns).to_pylist()]) == (
        "skywalking-csv",
        [
            ("A.0", None, "web", 2, 0, 9_000_000, None),
            ("A.1", "A.0", "web", 4, 0, 2_000_000, "kafka:9092"),
            ("B.0", "A.1", "cart", 5, 2, 0, None),
        ],
    )
    assert (batch.tally.dropped, batch.tally.repaired) == ({"malformed span": 1}, {"end before start": 1})
