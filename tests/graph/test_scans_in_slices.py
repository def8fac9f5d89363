"""What is told call by call, and graphs of finer nodes, do not depend on how many spans are linked at once."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from odd_spans import odd_store

from benchmarks.generate import fill
from hypocenter.graph import clock_skew
from hypocenter.graph.cache import OVERLAP_NS
from hypocenter.graph.link import link
from hypocenter.graph.named_telemetry import names_of, with_names
from hypocenter.graph.replicas import read_finer
from hypocenter.graph.rollup import SCHEMAS
from hypocenter.graph.scan_calls import calls_schema, hours, scan_calls
from hypocenter.graph.ways import ways
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, Window

SLICES = [500, 3_000]
BY = ["pod", "version", "environment", "cluster", "operation"]


@pytest.fixture(scope="module", params=["hex", "opaque", "generated"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("slices") / "store"
    if request.param == "generated":
        store = Store(path, create=True)
        fill(store, 12_000, services=12, late_ratio=0.1, rate_per_s=3)
        return store
    return odd_store(path, are_ids_hex=request.param == "hex")


def _rows(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in table.column_names])


@pytest.mark.parametrize("slice_spans", [*SLICES, 10**9])
def test_calls_are_those_of_each_hour_linked_at_once(store: Store, slice_spans: int) -> None:
    expected, names = [], names_of([store.read("spans")])
    for hour in store.hours("spans"):
        around = Window(hour.start_ns - OVERLAP_NS, hour.end_ns + OVERLAP_NS)
        calls = link(with_names(store.read("spans", around), names)).calls
        begun = calls["start_ns"]
        expected.append(calls.filter(pc.and_(pc.greater_equal(begun, hour.start_ns), pc.less(begun, hour.end_ns))))
    found = pa.Table.from_batches(scan_calls(store, slice_spans=slice_spans), calls_schema())
    assert len(expected) > 1 and found.num_rows > 1_000
    assert _rows(found).equals(_rows(pa.concat_tables(expected)))


@pytest.mark.parametrize("slice_spans", SLICES)
def test_clock_skews_are_the_same(store: Store, slice_spans: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = clock_skew.skews(pa.Table.from_batches(scan_calls(store), calls_schema()))
    monkeypatch.setattr(clock_skew, "_JUDGED_AT_ONCE", 40)
    assert len(expected) > 10
    pd.testing.assert_frame_equal(clock_skew.read(store, slice_spans=slice_spans), expected)


@pytest.mark.parametrize("slice_spans", SLICES)
@pytest.mark.parametrize("by", BY)
def test_graphs_of_finer_nodes_are_the_same(store: Store, by: str, slice_spans: int) -> None:
    held = Window(0, 2**62)
    whole, found = read_finer(store, held, by, slice_spans=10**9), read_finer(store, held, by, slice_spans=slice_spans)
    assert whole.edges.num_rows > 0
    assert [name for name in SCHEMAS if not getattr(found, name).equals(getattr(whole, name))] == []


@pytest.mark.parametrize("slice_spans", SLICES)
def test_ways_are_the_same(store: Store, slice_spans: int) -> None:
    held = Window(0, 2**62)
    callees = pa.Table.from_batches(scan_calls(store), calls_schema())["callee"].value_counts().to_pylist()
    node = max(callees, key=lambda one: one["counts"])["values"]
    whole = ways(store, held, node, slice_spans=10**9)
    assert len(whole) > 2
    pd.testing.assert_frame_equal(ways(store, held, node, slice_spans=slice_spans), whole)


def test_hours_are_cut_to_the_window_and_read_what_is_around(store: Store) -> None:
    first = store.hours("spans")[0]
    asked = Window(first.start_ns + HOUR_NS // 2, first.end_ns + 1)
    parts = [part for part, _ in hours(store, asked)]
    assert parts[0] == Window(asked.start_ns, first.end_ns)
    assert all(asked.start_ns <= part.start_ns < part.end_ns <= asked.end_ns for part in parts)


def test_trace_ids_of_two_lengths_are_told_as_they_came(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    (name, *_), rows = store.segments("spans"), store.read("spans")
    short = rows.slice(0, 500)
    cut = pc.utf8_slice_codeunits(short["trace_id"], 16)
    store.append(_batch(short.set_column(short.schema.get_field_index("trace_id"), "trace_id", cut)))
    told = {trace for part in scan_calls(store) for trace in part["trace_id"].to_pylist()}
    known = set(store.read("spans", columns=["trace_id"])["trace_id"].to_pylist())
    assert name.rows and told <= known and {len(trace) for trace in told} == {16, 32}


def _batch(spans: pa.Table):
    from hypocenter.tracer.batch import Batch

    return Batch({"spans": spans})
