"""The ways by which calls reach a node are those of the traces, counted exactly."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hypocenter.errors import GraphError
from hypocenter.graph.ways import ways
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, SECOND_NS, Window

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(1, 6)
T0 = 1_700_000_000 * SECOND_NS // HOUR_NS * HOUR_NS
TOPIC = {"messaging_system": "kafka", "messaging_destination": "orders"}
DATABASE = {"db_system": "postgresql", "db_name": "carts"}


def span(trace: str, span_id: str, parent: str | None, service: str, kind: int, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(SPANS.names) | {"trace_id": trace, "span_id": span_id, "parent_span_id": parent, "status": 0}
    row |= {"start_ns": T0, "duration_ns": 10**7, "adjusted_milli": 1000, "source": "x"}
    return row | {"service": service, "kind": kind, "name": "get"} | more


def checkout(trace: str, at_ns: int = T0, **last: Any) -> list[dict[str, Any]]:
    rows = [
        span(trace, "a", None, "web", SERVER),
        span(trace, "b", "a", "web", CLIENT),
        span(trace, "c", "b", "cart", SERVER),
        span(trace, "d", "c", "cart", CLIENT, **DATABASE, **last),
    ]
    return [row | {"start_ns": at_ns} for row in rows]


def stored(folder: Path, *rows: dict[str, Any]) -> tuple[Store, Window]:
    store = Store(folder / "store", create=True)
    store.append(Batch({"spans": pa.Table.from_pylist(list(rows), SPANS)}))
    return store, store.bounds("spans") or Window(0, 1)


def told(store: Store, window: Window, node: str) -> list[tuple[Any, ...]]:
    return list(ways(store, window, node).itertuples(index=False, name=None))


def test_ways_are_those_of_the_traces_with_their_failures(tmp_path: Path) -> None:
    job = [
        span("j", "a", None, "nightly", INTERNAL),
        span("j", "b", "a", "nightly", CLIENT),
        span("j", "c", "b", "cart", SERVER),
        span("j", "d", "c", "cart", CLIENT, **DATABASE),
    ]
    lost = [span("l", "x", "gone", "cart", SERVER), span("l", "y", "x", "cart", CLIENT, **DATABASE)]
    found = stored(tmp_path, *checkout("t"), *checkout("u", status=2), *job, *lost)
    assert told(*found, "carts") == [
        ("external -> web -> cart -> carts", 3, 2, 2.0, 0.5, 1, 0.5),
        ("external -> cart -> carts", 2, 1, 1.0, 0.25, 0, 0.0),
        ("nightly -> cart -> carts", 2, 1, 1.0, 0.25, 0, 0.0),
    ]
    assert told(*found, "web") == [("external -> web", 1, 2, 2.0, 1.0, 0, 0.0)]


def test_shares_undo_sampling_and_calls_do_not(tmp_path: Path) -> None:
    sampled = [row | {"adjusted_milli": 9_000} for row in checkout("t")]
    lost = [span("l", "x", "gone", "cart", SERVER), span("l", "y", "x", "cart", CLIENT, **DATABASE)]
    assert told(*stored(tmp_path, *sampled, *lost), "carts") == [
        ("external -> web -> cart -> carts", 3, 1, 9.0, 0.9, 0, 0.0),
        ("external -> cart -> carts", 2, 1, 1.0, 0.1, 0, 0.0),
    ]


def test_way_goes_on_through_a_broker(tmp_path: Path) -> None:
    sent = [
        span("t", "a", None, "web", SERVER),
        span("t", "b", "a", "web", PRODUCER, **TOPIC),
        span("t", "c", "b", "mail", CONSUMER, **TOPIC),
        span("t", "d", "c", "mail", CLIENT, peer_service="smtp"),
    ]
    found = stored(tmp_path, *sent)
    assert [row[0] for row in told(*found, "smtp")] == ["external -> web -> orders -> mail -> smtp"]
    assert [row[0] for row in told(*found, "orders")] == ["external -> web -> orders"]


def test_services_that_call_back_are_named_each_time_and_circles_of_spans_end(tmp_path: Path) -> None:
    back = [
        span("t", "a", None, "web", SERVER),
        span("t", "b", "a", "cart", SERVER),
        span("t", "c", "b", "web", SERVER),
        span("t", "d", "c", "web", CLIENT, peer_service="bank"),
        span("u", "a", "b", "web", SERVER),
        span("u", "b", "a", "cart", SERVER),
        span("u", "c", "a", "web", CLIENT, peer_service="bank"),
    ]
    found = stored(tmp_path, *back)
    assert [row[0] for row in told(*found, "bank")] == ["external -> web -> cart -> web -> bank", "web -> bank"]


def test_hours_add_up_and_other_calls_are_left_out(tmp_path: Path) -> None:
    rows = [row for hour in range(3) for row in checkout(f"t{hour}", T0 + hour * HOUR_NS)]
    store, _ = stored(tmp_path, *rows)
    assert [row[2] for row in told(store, Window(T0, T0 + 2 * HOUR_NS), "carts")] == [2]
    with pytest.raises(GraphError, match="no call to 'nothing' in"):
        ways(store, Window(T0, T0 + HOUR_NS), "nothing")


def test_ways_of_hours_apart_name_a_service_of_several_environments_alike(tmp_path: Path) -> None:
    hours = [
        [row | {"environment": place} for row in checkout(f"t{hour}", T0 + hour * HOUR_NS)]
        for hour, place in enumerate(("prod", "staging"))
    ]
    store, window = stored(tmp_path, *hours[0], *hours[1])
    (found,) = told(store, window, "cart@prod")
    assert found[0] == "external -> web@prod -> cart@prod"
