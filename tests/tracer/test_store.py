"""What a store promises about names, windows, columns, older and newer versions, and damage."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_rows import points, spans, table

from hypocenter.errors import SourceError
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SCHEMA_VERSION, SIGNALS, SPANS
from hypocenter.tracer.store import Segment, Store
from hypocenter.tracer.window import HOUR_NS, Window

NOON = 1_700_000_000_000_000_000 // (24 * HOUR_NS) * (24 * HOUR_NS) + 12 * HOUR_NS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def starts(store: Store, window: Window | None = None) -> list[int]:
    return store.read("spans", window, ["start_ns"]).column(0).to_pylist()


def test_folder_without_marker_is_no_store_and_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"not a hypocenter store .* make one by `hypocenter ingest"):
        Store(tmp_path)


def test_create_refuses_a_folder_that_holds_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(SourceError, match="holds other files"):
        Store(tmp_path, create=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.doc"]


def test_create_opens_what_exists(store: Store) -> None:
    store.append(spans(1, 2))
    assert starts(Store(store.path, create=True)) == [1, 2]


def test_store_of_a_newer_format_is_refused(store: Store) -> None:
    (store.path / "hypocenter-store.json").write_text('{"format_version": 99}')
    with pytest.raises(SourceError, match="store format 99 is newer than 1; upgrade"):
        Store(store.path)


def test_append_writes_one_segment_for_each_signal_that_has_rows_by_hour_of_arrival(store: Store) -> None:
    batch = Batch({**spans(5, 3).tables, **points(7).tables, "logs": SIGNALS["logs"].empty_table()})
    written = store.append(batch, name="one", arrived_ns=NOON, digest="abc")
    expected = [
        Segment(store.path / "spans/date=2023-11-14/hour=12/one.parquet", "spans", 2, 3, 6, "one", "abc"),
        Segment(store.path / "points/date=2023-11-14/hour=12/one.parquet", "points", 1, 7, 8, "one", "abc"),
    ]
    assert written == expected
    assert [*store.segments("spans"), *store.segments("points"), *store.segments("logs")] == expected
    assert store.paths("spans") == [str(expected[0].path)]
    assert list((store.path / "tmp").iterdir()) == []


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_rows_come_back_as_they_went_in(store: Store, signal: str) -> None:
    columns = {
        "attributes": [[("a", "1"), ("b", '"1"')], None, []],
        "links": [[{"trace_id": "t", "span_id": None}], None, []],
        "status": [2, 1, 0] if signal == "spans" else ["{}", None, ""],
        "value": [0.5, None, float("inf")],
        "series_id": ["x", "y", "z"],
        "name": ["é\n", "", "b"],
        "kind": [3, 2, 1] if signal == "spans" else ["c", "b", "a"],
    }
    rows = table(signal, **{name: values for name, values in columns.items() if name in SIGNALS[signal].names})
    store.append(Batch({signal: rows}))
    assert store.read(signal).equals(rows)
    assert pa.Table.from_batches(store.scan(signal)).equals(rows)


def test_segments_without_a_name_read_in_the_order_of_arrival(store: Store) -> None:
    for at in (3, 1, 2):
        store.append(spans(at), arrived_ns=NOON + at)
    assert starts(store) == [1, 2, 3]


def test_name_that_exists_is_left_alone_whatever_the_hour(store: Store) -> None:
    store.append(spans(1), name="file-0", arrived_ns=NOON)
    again = store.append(Batch({**spans(2).tables, **points(9).tables}), name="file-0", arrived_ns=NOON + 30 * HOUR_NS)
    assert [(segment.signal, segment.name) for segment in again] == [("points", "file-0")]
    assert starts(store) == [1]


def test_name_raced_over_the_turn_of_an_hour_counts_once(store: Store) -> None:
    (first,) = store.append(spans(1), name="file-0", arrived_ns=NOON)
    later = store.path / "spans/date=2023-11-14/hour=13/file-0.parquet"
    later.parent.mkdir()
    later.write_bytes(first.path.read_bytes())
    assert store.segments("spans") == [first]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_name_that_is_not_fit_for_a_file_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="expected letters"):
        store.append(spans(1), name=name)
    assert store.segments("spans") == []


def test_source_is_complete_only_after_its_last_batch(store: Store) -> None:
    store.append(spans(1), name="a-0", digest="a")
    assert not store.is_complete("a")
    store.append(spans(2), name="a-1", digest="a", last=True)
    assert store.is_complete("a")
    assert not store.is_complete("b")
    assert Store(store.path).is_complete("a")


def test_source_that_ends_in_an_empty_batch_is_complete(store: Store) -> None:
    assert store.append(Batch(), digest="empty", last=True) == []
    assert store.is_complete("empty")


def test_table_outside_its_schema_is_a_mistake_of_the_caller(store: Store) -> None:
    with pytest.raises(ValueError, match=r"missing \['links'\], unknown \['colour'\]"):
        wrong = spans(1).tables["spans"].drop_columns(["links"]).append_column("colour", [["red"]])
        store.append(Batch({"spans": wrong}))
    null_id = spans(1).tables["spans"].set_column(1, "span_id", pa.nulls(1, pa.string()))
    with pytest.raises(ValueError, match="null"):
        store.append(Batch({"spans": null_id}))
    assert store.segments("spans") == []
    assert list((store.path / "tmp").iterdir()) == []


def test_bounds_come_from_all_signals_and_are_half_open(store: Store) -> None:
    assert store.bounds() is None
    store.append(Batch({**spans(50, 20).tables, **points(70).tables}))
    store.append(spans(30))
    assert store.bounds() == Window(20, 71)
    assert store.bounds("spans") == Window(20, 51)
    assert store.bounds("logs") is None


def test_series_are_unique_by_id_and_have_no_time(store: Store) -> None:
    store.append(Batch({"series": table("series", series_id=["a", "b"], name=["first", "b"])}))
    store.append(Batch({"series": table("series", series_id=["a", "c"], name=["second", "c"])}))
    assert store.read("series", Window(0, 1), ["name"]).to_pydict() == {"name": ["first", "b", "c"]}
    assert pa.Table.from_batches(store.scan("series", columns=["name"])).to_pydict() == {"name": ["first", "b", "c"]}


def test_filter_and_columns_are_pushed_down(store: Store) -> None:
    store.append(spans(1, 2, 3))
    got = store.read("spans", Window(0, 3), ["span_id", "start_ns"], filter=pc.field("start_ns") != 1)
    assert got.to_pydict() == {"span_id": ["0000000000000001"], "start_ns": [2]}
    with pytest.raises(ValueError, match="spans has no column colour"):
        store.read("spans", columns=["colour"])


times = st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=6), max_size=5)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segments=times, start=st.integers(-5, 105), length=st.integers(1, 60))
def test_window_is_a_filter_over_everything(
    tmp_path_factory: pytest.TempPathFactory, segments: list[list[int]], start: int, length: int
) -> None:
    store = Store(tmp_path_factory.mktemp("window"), create=True)
    for number, times_ns in enumerate(segments):
        store.append(spans(*times_ns), name=f"s{number}")
    inside = [time for times_ns in segments for time in times_ns if start <= time < start + length]
    window = Window(start, start + length)
    assert starts(store, window) == inside
    scanned = [time for batch in store.scan("spans", window, ["start_ns"]) for time in batch.column(0).to_pylist()]
    assert scanned == inside
    assert all(segment.rows for segment in store.segments("spans", window))
    assert sum(segment.rows for segment in store.segments("spans")) == sum(map(len, segments))


def write_segment(path: Path, rows: pa.Table, schema_version: int) -> None:
    """Write a segment as another version of the store would."""
    path.parent.mkdir(parents=True)
    facts = {"schema_version": schema_version, "signal": "spans", "rows": 1, "start_ns": 1, "end_ns": 2}
    footer = {f"hypocenter.{key}": str(value) for key, value in facts.items()}
    with pq.ParquetWriter(path, rows.schema) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata(footer)


def test_columns_that_an_older_version_lacks_come_as_null(store: Store) -> None:
    old = spans(1).tables["spans"].drop_columns(["links", "error_type"])
    write_segment(store.path / "spans/date=2020-01-01/hour=00/old.parquet", old, SCHEMA_VERSION - 1)
    store.append(spans(2), name="present")
    read = store.read("spans")
    assert read.schema.equals(SPANS)
    assert read.select(["start_ns", "links", "error_type"]).to_pydict() == {
        "start_ns": [1, 2],
        "links": [None, None],
        "error_type": [None, None],
    }


def test_segment_of_a_newer_version_is_refused_by_name(store: Store) -> None:
    path = store.path / "spans/date=2099-01-01/hour=00/new.parquet"
    write_segment(path, spans(1).tables["spans"], SCHEMA_VERSION + 1)
    with pytest.raises(SourceError, match=rf"new\.parquet: written with schema version {SCHEMA_VERSION + 1}"):
        store.read("spans")


def test_truncated_segment_is_named_counted_and_skipped(store: Store) -> None:
    (broken,) = store.append(spans(1), name="a")
    store.append(spans(2), name="b")
    broken.path.write_bytes(broken.path.read_bytes()[:-100])
    assert starts(store) == starts(store) == [2]
    (problem,) = store.problems
    assert problem.startswith(f"{broken.path}: not a whole Parquet file")


def test_segment_with_a_flipped_bit_is_named_counted_and_skipped(store: Store) -> None:
    appended = [store.append(spans(number), name=f"s{number}")[0] for number in range(5)]
    path = appended[3].path
    content = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(SPANS.get_field_index("start_ns"))
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    assert starts(store) == [0, 1, 2, 4]
    assert [time for batch in store.scan("spans") for time in batch.column("start_ns").to_pylist()] == [0, 1, 2, 4]
    (problem,) = store.problems
    assert problem.startswith(f"{path}: cannot be read")


def test_parquet_of_someone_else_is_named_counted_and_skipped(store: Store) -> None:
    store.append(spans(1), name="a")
    foreign = store.segments("spans")[0].path.with_name("foreign.parquet")
    pq.write_table(pa.table({"x": [1]}), foreign)
    assert starts(store) == [1]
    assert store.problems == [f"{foreign}: no schema_version in its footer: not written by a hypocenter store"]
