"""Laws of linking: no span is lost, order does not matter, and a slow obvious linker comes to the same."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import reference_linker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypocenter.graph import slices
from hypocenter.graph.link import Links, link
from hypocenter.graph.rollup import SCHEMAS, Rollups, roll_up
from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.schema import SPANS

Row = dict[str, Any]
STEP_NS = 10 * 10**9
fast = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PEERS: list[Row] = [
    {},
    {},
    {},
    {"peer_service": "b"},
    {"peer_address": "10.0.0.1"},
    {"db_system": "redis"},
    {"db_system": "postgresql", "db_name": "orders", "peer_address": "db"},
    *({"messaging_system": "kafka", "messaging_destination": "t", "messaging_operation": o} for o in
      (None, "send", "process", "receive", "settle", "create")),
]  # fmt: skip


def _links(trace: str, to_id: Callable[[int], str]) -> list[Row]:
    return [{"trace_id": t, "span_id": to_id(n)} for t in (trace, "other") for n in range(3)]


@st.composite
def spans(draw: st.DrawFn) -> list[Row]:
    """A few traces whose spans share ids across traces; hex ids or not; copies, shared ids, cycles, lost parents."""
    to_id = draw(st.sampled_from([lambda n: f"s{n}", lambda n: f"{n + 1:016x}"]))
    to_trace = draw(st.sampled_from([lambda n: f"t{n}", lambda n: f"{n:032x}", lambda n: f"{n << 64 | 1:032x}"]))
    rows: list[Row] = []
    for trace in range(draw(st.integers(1, 3))):
        size = draw(st.integers(1, 8))
        for number in range(size):
            row: Row = dict.fromkeys(SPANS.names)
            parent = draw(st.sampled_from([None, 99, *range(size)]))
            row |= {
                "trace_id": to_trace(trace),
                "span_id": to_id(number),
                "parent_span_id": None if parent is None else to_id(parent),
                "service": draw(st.sampled_from(["a", "b", "c", None])),
                "service_namespace": draw(st.sampled_from([None, None, "x", "y"])),
                "environment": draw(st.sampled_from([None, "prod", "test"])),
                "cluster": draw(st.sampled_from([None, None, "eu", "us"])),
                "pod": draw(st.sampled_from([None, "p"])),
                "name": draw(st.sampled_from(["get", "put"])),
                "kind": draw(st.integers(0, 5)),
                "status": draw(st.sampled_from([0, 1, 2])),
                "start_ns": draw(st.integers(0, 3)) * STEP_NS + draw(st.integers(0, 40)),
                "duration_ns": draw(st.integers(0, 40)),
                "adjusted_milli": draw(st.sampled_from([1000, 1500])),
                "links": draw(st.lists(st.sampled_from(_links(to_trace(trace), to_id)), max_size=3)) or None,
                "source": "test",
            }
            rows.append(row | draw(st.sampled_from(PEERS)))
    for row in draw(st.lists(st.sampled_from(rows), max_size=2)):
        rows.append(row | {"start_ns": row["start_ns"] + draw(st.sampled_from([0, 1]))})
    for row in draw(st.lists(st.sampled_from(rows), max_size=2, unique_by=id)):
        twin_kind = {2: 3, 3: 2, 4: 5, 5: 4}.get(row["kind"])
        if twin_kind and row["messaging_destination"] is None:
            rows.append(row | {"kind": twin_kind, "service": draw(st.sampled_from(["a", "b"]))})
    return rows


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, SPANS)


def told(links: Links) -> Counter[tuple[Any, ...]]:
    names = [
        "caller",
        "caller_kind",
        "callee",
        "callee_kind",
        "matched",
        "client_span_id",
        "server_span_id",
        "queue_ns",
        "critical_ns",
    ]
    return Counter(tuple(call[name] for name in names) for call in links.calls.to_pylist())


def attempts(links: Links) -> Counter[tuple[str, str, str]]:
    names = ("caller_requests", "retries", "hedges")
    found: Counter[tuple[str, str, str]] = Counter()
    for call in links.calls.to_pylist():
        found.update({(call["caller"], call["callee"], name): call[name] for name in names if call[name]})
    return found


@fast
@given(spans())
def test_equals_the_reference(rows: list[Row]) -> None:
    expected, found = reference_linker.link(rows), link(table(rows))
    assert told(found) == expected.calls
    assert attempts(found) == expected.counts()
    assert Counter((u["trace_id"], u["span_id"], u["reason"]) for u in found.unlinked.to_pylist()) == expected.unlinked
    visits = found.visits.to_pylist()
    for name in ("exclusive_ns", "critical_ns"):
        assert {(v["trace_id"], v["span_id"], v["kind"]): v[name] for v in visits} == getattr(expected, name), name


@fast
@given(spans(), st.randoms(use_true_random=False))
def test_does_not_depend_on_the_order_of_spans(rows: list[Row], shuffler: random.Random) -> None:
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    first, second = link(table(rows)), link(table(shuffled))
    assert (first.calls, first.unlinked, first.visits) == (second.calls, second.unlinked, second.visits)


@fast
@given(spans())
def test_every_span_is_one_side_of_one_call_or_counted_under_one_reason(rows: list[Row]) -> None:
    found = link(table(rows))
    sides = len(found.calls) * 2 - found.calls["client_span_id"].null_count - found.calls["server_span_id"].null_count
    assert sides + len(found.unlinked) == len(rows)
    rolled = roll_up(found)
    counted = [rolled.edges["client_count"], rolled.edges["server_count"], rolled.unlinked["count"]]
    assert sum(pc.sum(column).as_py() or 0 for column in counted) == len(rows)


@fast
@given(spans(), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.randoms(use_true_random=False))
def test_rollups_do_not_depend_on_slices_or_segments(
    tmp_path_factory: Any, rows: list[Row], slice_spans: int, at_once: int, segments: int, shuffler: random.Random
) -> None:
    folder: Path = tmp_path_factory.mktemp("segments")
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    paths = []
    for number in range(segments):
        paths.append(folder / f"{number}.parquet")
        pq.write_table(table(shuffled[number::segments]), paths[-1])
    with mock.patch.object(slices, "_SUMMED_AT_ONCE", at_once):
        found = roll_up_segments(paths, slice_spans=slice_spans)
    assert_equal(found, roll_up(link(table(rows))))


def assert_equal(found: Rollups, expected: Rollups) -> None:
    for name in SCHEMAS:
        assert getattr(found, name).to_pylist() == getattr(expected, name).to_pylist(), name
