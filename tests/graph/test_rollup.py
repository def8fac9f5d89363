"""Rollups add up: in any grouping, over time, and from the cache as from the spans."""

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypocenter.errors import SourceError
from hypocenter.graph.cache import refresh, rollups
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.histogram import bucket
from hypocenter.graph.link import link
from hypocenter.graph.rollup import SCHEMAS, Rollups, empty, merge, roll_up, to_steps, totals, within
from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.store import Store
from hypocenter.tracer.store.prune import prune
from hypocenter.tracer.window import HOUR_NS, MINUTE_NS, SECOND_NS, Window

SERVER, CLIENT = 2, 3
T0 = 1_700_000_000 * SECOND_NS // HOUR_NS * HOUR_NS


def span(trace: str, span_id: str, parent: str | None, service: str, kind: int, start_ns: int, **more: Any) -> Any:
    row: dict[str, Any] = dict.fromkeys(SPANS.names)
    row |= {"trace_id": trace, "span_id": span_id, "parent_span_id": parent, "service": service, "kind": kind}
    row |= {"name": "get", "status": 0, "start_ns": start_ns, "duration_ns": 100, "adjusted_milli": 1000}
    return row | {"source": "test"} | more


def call(trace: str, start_ns: int, duration_ns: int = 100, **more: Any) -> list[Any]:
    client = span(trace, "a", None, "web", CLIENT, start_ns, duration_ns=duration_ns)
    return [client, span(trace, "b", "a", "cart", SERVER, start_ns + 1, duration_ns=60, **more)]


def table(rows: list[Any]) -> pa.Table:
    return pa.Table.from_pylist(rows, SPANS)


def rolled(rows: list[Any]) -> Rollups:
    return roll_up(link(table(rows)))


def plain(rollups: Rollups) -> dict[str, Any]:
    return {name: getattr(rollups, name).to_pylist() for name in SCHEMAS}


def test_edge_of_one_call() -> None:
    (edge,) = rolled(call("t", T0 + 25 * SECOND_NS, status=2, pod="cart-1")).edges.to_pylist()
    assert edge == {
        "time_ns": T0 + 20 * SECOND_NS,
        "caller": "web",
        "callee": "cart",
        "callee_kind": "service",
        "count": 1,
        "adjusted_milli": 1000,
        "errors": 1,
        "client_errors": 0,
        "server_errors": 1,
        "http_4xx": 0,
        "http_5xx": 0,
        "client_count": 1,
        "server_count": 1,
        "missing_parents": 0,
        "timeouts": 0,
        "caller_requests": 1,
        "retries": 0,
        "hedges": 0,
        "critical_ns": 100,
        "caller_kind": "service",
        "client_duration": [{"bucket": bucket(100), "count": 1}],
        "server_duration": [{"bucket": bucket(60), "count": 1}],
        "gap": [{"bucket": bucket(40), "count": 1}],
        "queue": [],
    }


def test_negative_gap_is_counted_in_a_negative_bucket() -> None:
    (edge,) = rolled(call("t", T0, duration_ns=10)).edges.to_pylist()
    assert edge["gap"] == [{"bucket": bucket(-50), "count": 1}]


def test_adjusted_counts_are_added_exactly() -> None:
    (edge,) = rolled(call("t", T0, adjusted_milli=1333) + call("u", T0, adjusted_milli=2667)).edges.to_pylist()
    assert (edge["count"], edge["adjusted_milli"]) == (2, 4000)


def test_operations_beyond_200_of_a_service_count_as_other() -> None:
    rows = [span(f"t{n}", "a", None, "web", SERVER, T0, name=f"op-{n:03d}") for n in range(205)]
    rows += [span("u", "a", None, "web", SERVER, T0, name="op-204")]
    counts = {o["operation"]: o["count"] for o in rolled(rows).operations.to_pylist()}
    assert len(counts) == 201
    assert (counts["op-204"], counts["op-198"], counts["_other"]) == (2, 1, 5)


def test_requests_of_an_instance_are_those_from_elsewhere() -> None:
    rows = [*call("t", T0, pod="cart-1"), span("t", "c", "b", "cart", 1, T0 + 2, pod="cart-1", status=2)]
    cart = next(i for i in rolled(rows).instances.to_pylist() if i["pod"] == "cart-1")
    assert (cart["count"], cart["requests"], cart["errors"]) == (2, 1, 0)
    assert cart["duration"] == [{"bucket": bucket(60), "count": 1}]


def test_instances_tell_version_environment_and_cluster() -> None:
    told = {"service_version": "1.4", "environment": "prod", "cluster": "eu"}
    spans = [span("t", "a", None, "web", SERVER, T0, **told), span("u", "a", None, "web", SERVER, T0 + 1)]
    names = ("version", "environment", "cluster", "count")
    found = [tuple(row[name] for name in names) for row in rolled(spans).instances.to_pylist()]
    assert found == [("1.4", "prod", "eu", 1), (None, None, None, 1)]


def test_longer_steps_and_totals_add_up() -> None:
    found = rolled(call("t", T0 + 5 * SECOND_NS) + call("u", T0 + 45 * SECOND_NS) + call("v", T0 + 70 * SECOND_NS))
    assert [(e["time_ns"], e["count"]) for e in to_steps(found, MINUTE_NS).edges.to_pylist()] == [
        (T0, 2),
        (T0 + MINUTE_NS, 1),
    ]
    (edge,) = totals(found, Window(T0, T0 + 50 * SECOND_NS)).edges.to_pylist()
    assert (edge["time_ns"], edge["count"]) == (T0, 2)
    assert edge["client_duration"] == [{"bucket": bucket(100), "count": 2}]


def test_steps_that_10_s_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 10000000000 ns"):
        to_steps(empty(), 15 * SECOND_NS)


durations = st.integers(0, 2**40)
calls = st.lists(st.tuples(st.integers(0, 30), durations, st.sampled_from([0, 2])), max_size=6)


def as_rows(name: str, found: list[tuple[int, int, int]]) -> list[Any]:
    rows = []
    for number, (second, duration, status) in enumerate(found):
        rows += call(f"{name}{number}", T0 + second * SECOND_NS, duration, status=status)
    return rows


@settings(max_examples=25, deadline=None)
@given(calls, calls, calls)
def test_merge_is_the_rollup_of_the_union(a: Any, b: Any, c: Any) -> None:
    rows = [as_rows(name, found) for name, found in (("a", a), ("b", b), ("c", c))]
    x, y, z = (rolled(part) for part in rows)
    whole = plain(rolled([*rows[0], *rows[1], *rows[2]]))
    assert plain(merge([merge([x, y]), z])) == whole
    assert plain(merge([x, merge([y, z])])) == whole
    assert plain(merge([z, y, x])) == whole
    assert plain(merge([merge([x, y, z]), empty()])) == whole


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def kept(store: Store) -> list[str]:
    return sorted(str(path.relative_to(store.path)) for path in store.path.glob("rollups/*/*"))


def test_window_over_hours_equals_the_rollup_of_its_spans(store: Store) -> None:
    rows = [row for n in range(12) for row in call(f"t{n}", T0 + n * 15 * MINUTE_NS)]
    # The client starts in one hour, the server in the next; they arrive in different segments.
    rows += call("edge", T0 + HOUR_NS - 1)
    store.append(Batch({"spans": table(rows[::2])}))
    store.append(Batch({"spans": table(rows[1::2])}))
    window = Window(T0 + 20 * MINUTE_NS, T0 + 2 * HOUR_NS + 40 * MINUTE_NS)
    expected = plain(within(rolled(rows), window))
    assert plain(rollups(store, window)) == expected
    assert [path.split("/")[1] for path in kept(store)] == ["2023-11-14T22", "2023-11-14T23"]
    assert plain(rollups(store, window)) == expected


def test_last_hour_of_a_recording_is_kept_once_all_of_it_was_asked_for_and_one_that_fills_is_not(store: Store) -> None:
    store.append(Batch({"spans": table([*call("a", T0), *call("b", T0 + MINUTE_NS)])}))
    part, whole = Window(T0, T0 + 30 * SECOND_NS), Window(T0, T0 + HOUR_NS)
    expected = plain(rollups(store, part))
    assert kept(store) == []
    rollups(store, whole)
    assert [path.split("/")[1] for path in kept(store)] == ["2023-11-14T22"]
    assert plain(rollups(store, part)) == expected
    now = time.time_ns() // HOUR_NS * HOUR_NS
    store.append(Batch({"spans": table(call("c", time.time_ns()))}))
    rollups(store, Window(now, now + 2 * HOUR_NS))
    assert [path.split("/")[1] for path in kept(store)] == ["2023-11-14T22"]


def test_coarse_rollups_are_the_steps_of_each_hour_within_the_window_in_one(store: Store) -> None:
    rows = [row for i in range(0, 200, 5) for row in call(f"t{i:03}", T0 + i * MINUTE_NS, duration_ns=10**6 + i)]
    store.append(Batch({"spans": table(rows)}))
    window = Window(T0 + 20 * MINUTE_NS, T0 + 2 * HOUR_NS + 40 * MINUTE_NS)
    expected = to_steps(rollups(store, window), HOUR_NS)
    assert len(expected.edges) < len(rollups(store, window).edges)
    for _ in range(2):
        assert plain(rollups(store, window, coarse=True)) == plain(expected)
    fine, coarse = DependencyGraph.read(store, window), DependencyGraph.read(store, window, coarse=True)
    assert coarse.edges.equals(fine.edges)
    assert coarse.over_time(HOUR_NS).equals(fine.over_time(HOUR_NS))
    assert coarse.merge(fine).step_ns == HOUR_NS


def test_durations_that_are_not_asked_for_are_null_and_all_else_is_the_same(store: Store) -> None:
    store.append(Batch({"spans": table(call("t", T0) + call("u", T0 + 2 * HOUR_NS))}))
    window = Window(T0, T0 + HOUR_NS)
    for coarse in (False, True):
        whole = rollups(store, window, coarse=coarse)
        found = rollups(store, window, coarse=coarse, durations_of=["edges"])
        assert plain(found)["edges"] == plain(whole)["edges"]
        unread = dict.fromkeys(["duration", "exclusive"])
        assert plain(found)["operations"] == [row | unread for row in plain(whole)["operations"]]
    counted = DependencyGraph.read(store, window, coarse=True, durations_of=[])
    assert counted.edges["client_p95_s"].isna().all()
    assert counted.edges["count"].sum() == 1


def test_late_spans_replace_the_kept_hour_they_belong_to(store: Store) -> None:
    hours = Window(T0, T0 + 2 * HOUR_NS)
    early, late = call("t", T0 + 30 * MINUTE_NS), call("u", T0 + 31 * MINUTE_NS)
    last = call("v", T0 + 2 * HOUR_NS + MINUTE_NS)
    far = call("w", T0 + HOUR_NS + 30 * MINUTE_NS)
    for number, rows in enumerate((early, far, last)):
        store.append(Batch({"spans": table(rows)}), name=f"s{number}")
    rollups(store, hours)
    before = kept(store)
    store.append(Batch({"spans": table(late)}), name="s3")
    assert plain(rollups(store, hours)) == plain(within(rolled([*early, *late, *far]), hours))
    after = kept(store)
    assert len(before) == len(after) == 2
    assert before[1] == after[1]
    assert before[0] != after[0]


def test_hours_agree_on_the_names_of_services_that_share_one(store: Store) -> None:
    rows = [span("t", "a", None, "web", CLIENT, T0), span("t", "b", "a", "api", SERVER, T0, service_namespace="shop")]
    later = T0 + HOUR_NS
    rows += [
        span("u", "a", None, "web", CLIENT, later, peer_service="api"),
        span("v", "a", None, "api", SERVER, later, service_namespace="pay"),
    ]
    store.append(Batch({"spans": table(rows)}))
    found = rollups(store, Window(T0, T0 + 2 * HOUR_NS))
    assert plain(found) == plain(rolled(rows))
    assert [(e["callee"], e["callee_kind"]) for e in found.edges.to_pylist()] == [
        ("shop/api", "service"),
        ("pay/api", "service"),
        ("api", "external"),
    ]


def test_hours_agree_on_the_environments_that_tell_services_apart(store: Store) -> None:
    rows = [*call("t", T0), span("u", "a", None, "api", SERVER, T0 + HOUR_NS, environment="test", cluster="eu")]
    hour = T0 + 2 * HOUR_NS
    rows += [span("v", "a", None, "api", SERVER, hour, environment="prod", cluster="eu")]
    rows += [span("w", "a", None, "api", SERVER, hour + HOUR_NS // 2, environment="prod", cluster="us")]
    rows += [span("x", "a", None, "api", SERVER, hour + HOUR_NS, environment="prod", cluster="us")]
    store.append(Batch({"spans": table(rows)}))
    whole = rollups(store, Window(T0, hour + 2 * HOUR_NS))
    assert plain(whole) == plain(rolled(rows))
    names = whole.edges["callee"].unique().to_pylist()
    assert [name for name in names if name.startswith("api")] == ["api@test", "api@prod@eu", "api@prod@us"]
    # An hour that tells them apart is kept so; the next one, which need not, is named alike.
    late = rollups(store, Window(hour + HOUR_NS // 4, hour + 2 * HOUR_NS))
    assert set(late.edges["callee"].to_pylist()) == {"api@us"}
    assert set(late.instances["service"].to_pylist()) == {"api@us"}


def test_damaged_cache_is_made_again(store: Store) -> None:
    store.append(Batch({"spans": table(call("t", T0) + call("u", T0 + 2 * HOUR_NS))}))
    window = Window(T0, T0 + HOUR_NS)
    expected = plain(rollups(store, window))
    edges = next(store.path.glob("rollups/*/*/edges.parquet"))
    edges.write_bytes(b"PAR1")
    assert plain(rollups(store, window)) == expected


def test_refresh_keeps_past_hours_and_drops_those_that_were_pruned(store: Store) -> None:
    for hour in range(3):
        store.append(Batch({"spans": table(call(f"t{hour}", T0 + hour * HOUR_NS))}), arrived_ns=T0 + hour * HOUR_NS)
    refresh(store)
    assert [path.split("/")[1] for path in kept(store)] == ["2023-11-14T22", "2023-11-14T23"]
    prune(store, T0 + HOUR_NS)
    refresh(store)
    assert [path.split("/")[1] for path in kept(store)] == ["2023-11-14T23"]


def test_damaged_segment_is_an_error_that_names_the_cause(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more PAR1")
    with pytest.raises(SourceError, match="segments cannot be read"):
        roll_up_segments([tmp_path / "broken.parquet"])


def test_segment_that_went_away_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="changed while they were read") as raised:
        roll_up_segments([tmp_path / "gone.parquet"])
    assert raised.value.retryable


def test_window_without_spans_has_empty_rollups(store: Store) -> None:
    store.append(Batch({"spans": table(call("t", T0))}))
    assert plain(roll_up_segments(store.paths("spans"), Window(T0 + HOUR_NS, T0 + 2 * HOUR_NS))) == plain(empty())
    assert plain(roll_up_segments([])) == plain(empty())


def test_store_without_spans_has_empty_rollups(store: Store) -> None:
    assert plain(rollups(store, Window(0, HOUR_NS))) == plain(empty())
