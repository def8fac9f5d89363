"""The linking rules of docs/linking.md, one test each, and the law that no span is lost."""

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from hypocenter.graph.link import link
from hypocenter.tracer.schema import SPANS

SERVER, CLIENT, INTERNAL, UNKNOWN = 2, 3, 1, 0


def span(span_id: str, parent: str | None, service: str, kind: int = UNKNOWN, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SPANS.names)
    row |= {"trace_id": "t", "span_id": span_id, "parent_span_id": parent, "service": service, "kind": kind}
    row |= {"name": f"op-{span_id}", "status": 0, "start_ns": 0, "duration_ns": 100}
    return row | {"adjusted_milli": 1000, "source": "test"} | more


def table(*spans: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(spans), SPANS)


def calls(*spans: dict[str, Any]) -> list[tuple[Any, ...]]:
    found = link(table(*spans)).calls.to_pylist()
    return [(c["caller"], c["callee"], c["callee_kind"], c["matched"]) for c in found]


def unlinked(*spans: dict[str, Any]) -> list[tuple[str, str]]:
    return [(u["span_id"], u["reason"]) for u in link(table(*spans)).unlinked.to_pylist()]


def test_server_under_client_is_one_call_with_both_durations() -> None:
    found = link(table(span("a", None, "web", CLIENT), span("b", "a", "cart", SERVER, start_ns=20, duration_ns=50)))
    (call,) = found.calls.to_pylist()
    assert (call["caller"], call["callee"], call["matched"]) == ("web", "cart", "pair")
    assert (call["client_duration_ns"], call["server_duration_ns"], call["start_ns"]) == (100, 50, 0)
    assert found.unlinked.num_rows == 0


def test_server_without_parent_is_called_by_external() -> None:
    assert calls(span("a", None, "web", SERVER)) == [("external", "web", "service", "server-only")]


def test_server_whose_parent_is_missing_is_called_by_external() -> None:
    assert calls(span("a", "gone", "web", SERVER)) == [("external", "web", "service", "missing-parent")]


def test_server_under_a_foreign_server_has_no_client_side() -> None:
    found = calls(span("a", None, "web", SERVER), span("b", "a", "cart", SERVER))
    assert found == [("external", "web", "service", "server-only"), ("web", "cart", "service", "no-client-span")]


def test_client_without_server_calls_a_typed_virtual_node() -> None:
    spans = [
        span("a", None, "web", SERVER),
        span("b", "a", "web", CLIENT, start_ns=1, peer_address="db-1", db_system="postgresql"),
        span("c", "a", "web", CLIENT, start_ns=2, peer_address="redis-1", db_system="redis"),
        span("d", "a", "web", CLIENT, start_ns=3, peer_service="stripe"),
    ]
    assert calls(*spans)[1:] == [
        ("web", "db-1", "database", "client-only"),
        ("web", "redis-1", "cache", "client-only"),
        ("web", "stripe", "external", "client-only"),
    ]


def test_client_without_server_or_peer_is_unlinked() -> None:
    assert unlinked(span("a", None, "web", CLIENT)) == [("a", "client-without-peer")]


def test_in_process_span_makes_no_call() -> None:
    spans = span("a", None, "web", SERVER), span("b", "a", "web", INTERNAL)
    assert (len(calls(*spans)), unlinked(*spans)) == (1, [("b", "in-process")])


def test_second_copy_of_a_span_is_a_duplicate() -> None:
    spans = span("a", None, "web", SERVER), span("a", None, "web", SERVER)
    assert (len(calls(*spans)), unlinked(*spans)) == (1, [("a", "duplicate")])


def test_call_within_one_service_links_to_itself() -> None:
    assert calls(span("a", None, "web", CLIENT), span("b", "a", "web", SERVER)) == [("web", "web", "service", "pair")]


def test_kinds_are_inferred_where_the_data_has_none() -> None:
    found = link(table(span("a", None, "web"), span("b", "a", "web"), span("c", "b", "cart"), span("d", "c", "cart")))
    assert {v["span_id"]: v["kind"] for v in found.visits.to_pylist()} == {
        "a": SERVER,
        "b": CLIENT,
        "c": SERVER,
        "d": 1,
    }


def test_exclusive_time_counts_overlapping_children_once() -> None:
    spans = [
        span("a", None, "web", SERVER, start_ns=0, duration_ns=100),
        span("b", "a", "web", start_ns=10, duration_ns=40),
        span("c", "a", "web", start_ns=20, duration_ns=10),
        span("d", "a", "web", start_ns=40, duration_ns=100),
    ]
    visits = {v["span_id"]: v["exclusive_ns"] for v in link(table(*spans)).visits.to_pylist()}
    assert visits == {"a": 10, "b": 30, "c": 10, "d": 100}


@st.composite
def traces(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    for index in range(draw(st.integers(1, 12))):
        parent = draw(st.sampled_from([None, "gone", *(str(i) for i in range(12))]))
        service = draw(st.sampled_from(["a", "b", "c"]))
        kind = draw(st.integers(0, 5))
        peer = draw(st.sampled_from([None, "db"]))
        duration = draw(st.integers(0, 50))
        rows.append(span(str(index), parent, service, kind, peer_address=peer, duration_ns=duration))
    return rows + draw(st.lists(st.sampled_from(rows), max_size=3))


@settings(max_examples=60, deadline=None)
@given(traces(), st.randoms(use_true_random=False))
def test_every_span_is_linked_or_counted_whatever_the_order(rows: list[dict[str, Any]], random: Any) -> None:
    found = link(table(*rows))
    sides = {c[side] for c in found.calls.to_pylist() for side in ("client_span_id", "server_span_id")} - {None}
    reasons = found.unlinked.to_pylist()
    single = {u["span_id"] for u in reasons if u["reason"] != "duplicate"}
    copies = [u for u in reasons if u["reason"] == "duplicate"]
    assert sides & single == set()
    assert sides | single == {row["span_id"] for row in rows}
    assert len(sides | single) + len(copies) == len(rows)
    shuffled = list(rows)
    random.shuffle(shuffled)
    again = link(table(*shuffled))
    assert (again.calls, again.unlinked, again.visits) == (found.calls, found.unlinked, found.visits)
