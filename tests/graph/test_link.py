"""The linking rules of docs/linking.md, one test each."""

from typing import Any

import pyarrow as pa
import pytest

from hypocenter.graph.link import link
from hypocenter.tracer.schema import SPANS

UNKNOWN, INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(6)


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
    ends = [(c["caller"], c["callee"], c["matched"]) for c in found.calls.to_pylist()]
    assert sorted(ends) == [("external", "web", "server-only"), ("web", "cart", "pair")]


def test_exclusive_time_counts_overlapping_children_once() -> None:
    spans = [
        span("a", None, "web", SERVER, start_ns=0, duration_ns=100),
        span("b", "a", "web", start_ns=10, duration_ns=40),
        span("c", "a", "web", start_ns=20, duration_ns=10),
        span("d", "a", "web", start_ns=40, duration_ns=100),
    ]
    visits = {v["span_id"]: v["exclusive_ns"] for v in link(table(*spans)).visits.to_pylist()}
    assert visits == {"a": 10, "b": 30, "c": 10, "d": 100}


def test_siblings_within_an_in_process_sibling_are_its_time_not_idle_time() -> None:
    # Spring Cloud Gateway: the handler and the call that it starts hang below the same span.
    spans = [
        span("a", None, "gateway", SERVER, duration_ns=100),
        span("handle", "a", "gateway", INTERNAL, start_ns=5, duration_ns=90),
        span("call", "a", "gateway", CLIENT, start_ns=10, duration_ns=80, peer_service="cart"),
    ]
    visits = {v["span_id"]: v["exclusive_ns"] for v in link(table(*spans)).visits.to_pylist()}
    assert visits == {"a": 10, "handle": 10, "call": 80}


def test_concurrent_calls_that_enclose_one_another_stay_siblings() -> None:
    spans = [
        span("a", None, "web", SERVER, duration_ns=100),
        span("b", "a", "web", CLIENT, start_ns=10, duration_ns=80, peer_service="cart"),
        span("c", "a", "web", CLIENT, start_ns=20, duration_ns=10, peer_service="stock"),
    ]
    visits = {v["span_id"]: v["exclusive_ns"] for v in link(table(*spans)).visits.to_pylist()}
    assert visits == {"a": 20, "b": 80, "c": 10}


def test_client_and_server_that_share_an_id_are_one_call() -> None:
    spans = [
        span("a", None, "web", SERVER),
        span("b", "a", "web", CLIENT, start_ns=1, duration_ns=50),
        span("b", "a", "cart", SERVER, start_ns=5, duration_ns=40),
        span("c", "b", "cart", INTERNAL, start_ns=6, duration_ns=30),
    ]
    found = link(table(*spans))
    pair = found.calls.to_pylist()[1]
    assert (pair["caller"], pair["callee"], pair["matched"]) == ("web", "cart", "pair")
    assert (pair["client_duration_ns"], pair["server_duration_ns"]) == (50, 40)
    assert [(u["span_id"], u["reason"]) for u in found.unlinked.to_pylist()] == [("c", "in-process")]
    below = {(v["span_id"], v["service"]): v["parent_service"] for v in found.visits.to_pylist()}
    assert below == {("a", "web"): None, ("b", "web"): "web", ("b", "cart"): "web", ("c", "cart"): "cart"}


def test_copies_of_both_sides_of_a_shared_id_are_duplicates() -> None:
    client, server = span("b", None, "web", CLIENT), span("b", None, "cart", SERVER)
    assert calls(client, server, client, server) == [("web", "cart", "service", "pair")]
    assert unlinked(client, server, client, server) == [("b", "duplicate"), ("b", "duplicate")]


def test_virtual_node_is_named_by_peer_service_then_address_then_database() -> None:
    named = {"peer_service": "orders-db", "peer_address": "10.0.0.1", "db_name": "orders", "db_system": "postgresql"}
    found = []
    while named:
        found.append(calls(span("a", None, "web", CLIENT, **named))[0][1])
        named.pop(next(iter(named)))
    assert found == ["orders-db", "10.0.0.1", "orders", "postgresql"]


def test_database_call_needs_no_kind() -> None:
    spans = span("a", None, "web", SERVER), span("b", "a", "web", db_system="postgresql", db_name="orders")
    assert ("web", "orders", "database", "client-only") in calls(*spans)


def test_client_span_of_another_service_stands_for_its_missing_server_span() -> None:
    spans = [
        span("a", None, "web", CLIENT),
        span("b", "a", "cart", CLIENT, start_ns=1, peer_service="redis-1", db_system="redis"),
    ]
    assert calls(*spans) == [
        ("web", "cart", "service", "no-server-span"),
        ("cart", "redis-1", "cache", "client-only"),
    ]
    assert unlinked(*spans) == []


def test_second_server_span_below_a_client_span_is_a_repeat() -> None:
    spans = [
        span("a", None, "web", CLIENT),
        span("b", "a", "cart", SERVER, start_ns=10),
        span("c", "a", "cart", SERVER, start_ns=40),
    ]
    found = link(table(*spans)).calls.to_pylist()
    assert [(c["client_span_id"], c["server_span_id"], c["matched"]) for c in found] == [
        ("a", "b", "pair"),
        (None, "c", "repeat"),
    ]


def test_retries_with_a_client_span_each_are_as_many_calls() -> None:
    spans = [span("a", None, "web", SERVER)]
    for attempt in ("1", "2", "3"):
        spans.append(span(f"c{attempt}", "a", "web", CLIENT, start_ns=int(attempt)))
        spans.append(span(f"s{attempt}", f"c{attempt}", "cart", SERVER, start_ns=int(attempt)))
    assert calls(*spans)[1:] == [("web", "cart", "service", "pair")] * 3


def test_server_that_outlives_its_client_is_still_their_pair() -> None:
    fire_and_forget = span("a", None, "web", CLIENT, duration_ns=5), span("b", "a", "mail", SERVER, start_ns=50)
    (call,) = link(table(*fire_and_forget)).calls.to_pylist()
    assert (call["matched"], call["client_duration_ns"], call["server_duration_ns"]) == ("pair", 5, 100)
    visits = {v["span_id"]: v["exclusive_ns"] for v in link(table(*fire_and_forget)).visits.to_pylist()}
    assert visits == {"a": 5, "b": 100}


def test_spans_that_are_their_own_ancestors_are_linked_once() -> None:
    loop = span("a", "b", "web", SERVER), span("b", "a", "cart", SERVER), span("c", "c", "pay", SERVER)
    assert sorted(calls(*loop)) == [
        ("cart", "web", "service", "no-client-span"),
        ("external", "pay", "service", "missing-parent"),
        ("web", "cart", "service", "no-client-span"),
    ]


def test_every_root_and_headless_part_of_a_trace_is_an_entry() -> None:
    spans = span("a", None, "web", SERVER), span("b", None, "cart", SERVER), span("c", "gone", "pay", SERVER)
    assert sorted(calls(*spans)) == [
        ("external", "cart", "service", "server-only"),
        ("external", "pay", "service", "missing-parent"),
        ("external", "web", "service", "server-only"),
    ]


def test_missing_parent_is_flagged_on_any_span() -> None:
    visits = link(table(span("a", "gone", "web", INTERNAL), span("b", None, "web", INTERNAL))).visits.to_pylist()
    assert {v["span_id"]: v["is_missing_parent"] for v in visits} == {"a": True, "b": False}


def test_trace_ids_of_64_and_128_bits_are_different_traces() -> None:
    short, long = "00000000000000ab", "000000000000000000000000000000ab"
    client, server = span("a", None, "web", CLIENT), span("b", "a", "cart", SERVER)
    assert calls(client | {"trace_id": short}, server | {"trace_id": short}) == [("web", "cart", "service", "pair")]
    assert calls(client | {"trace_id": short}, server | {"trace_id": long}) == [
        ("external", "cart", "service", "missing-parent")
    ]


def test_equal_span_ids_of_two_traces_are_not_joined() -> None:
    spans = span("a", None, "web", CLIENT), span("b", "a", "cart", SERVER) | {"trace_id": "u"}
    assert calls(*spans) == [("external", "cart", "service", "missing-parent")]


def test_name_that_several_namespaces_use_is_told_apart() -> None:
    spans = [
        span("a", None, "web", SERVER, service_namespace="shop"),
        span("b", "a", "api", SERVER, start_ns=1, service_namespace="shop"),
        span("c", "b", "api", SERVER, start_ns=2, service_namespace="pay"),
    ]
    assert [call[:2] for call in calls(*spans)] == [("external", "web"), ("web", "shop/api"), ("shop/api", "pay/api")]


def test_deployments_in_several_environments_or_clusters_are_nodes_of_their_own() -> None:
    spans = [
        span("a", None, "web", SERVER, environment="prod"),
        span("b", "a", "cart", SERVER, start_ns=1, environment="prod", cluster="eu"),
        span("c", "b", "cart", SERVER, start_ns=2, environment="staging", cluster="test"),
        span("d", "c", "cart", SERVER, start_ns=3),
        span("e", "d", "db", SERVER, start_ns=4, cluster="eu"),
        span("f", "e", "db", SERVER, start_ns=5, cluster="us"),
        span("g", "f", "db", CLIENT, start_ns=6, cluster="us", peer_service="cart"),
    ]
    # A cluster that follows from the environment adds nothing; a peer is only a name.
    assert [call[:2] for call in calls(*spans)] == [
        ("external", "web"),
        ("web", "cart@prod"),
        ("cart@prod", "cart@staging"),
        ("cart@staging", "cart"),
        ("cart", "db@eu"),
        ("db@eu", "db@us"),
        ("db@us", "cart"),
    ]
    visits = link(table(*spans)).visits.to_pylist()
    assert {v["span_id"]: v["service"] for v in visits if v["service"].startswith("db")} == {
        "e": "db@eu", "f": "db@us", "g": "db@us",
    }  # fmt: skip


def test_span_without_a_service_belongs_to_unknown_service() -> None:
    spans = span("a", None, "web", CLIENT), span("b", "a", None, SERVER)  # type: ignore[arg-type]
    assert calls(*spans) == [("web", "unknown_service", "service", "pair")]


def attempts(*spans: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return by callee its calls, the requests that made them, retries and hedges, of calls that services make."""
    found: dict[str, tuple[int, ...]] = {}
    for call in link(table(*spans)).calls.to_pylist():
        if call["caller_kind"] == "service":
            counts = (1, *(call[name] for name in ("caller_requests", "retries", "hedges")))
            found[call["callee"]] = tuple(map(sum, zip(found.get(call["callee"], (0, 0, 0, 0)), counts, strict=True)))
    return found


def attempt(number: int, start_ns: int, duration_ns: int, name: str = "GET", **more: Any) -> list[dict[str, Any]]:
    timed = {"start_ns": start_ns, "duration_ns": duration_ns}
    client = span(f"c{number}", "a", "web", CLIENT, **timed | {"name": name} | more)
    return [client, span(f"s{number}", f"c{number}", "cart", SERVER, **timed | {"name": f"{name} /cart"})]


REQUEST = span("a", None, "web", SERVER, duration_ns=1000)


def test_call_after_a_failed_one_of_the_same_request_is_a_retry() -> None:
    failed = {"status": 2}
    spans = [*attempt(1, 0, 10, **failed), *attempt(2, 20, 10, **failed), *attempt(3, 40, 10)]
    assert attempts(REQUEST, *spans) == {"cart": (3, 1, 2, 0)}
    alone = [row | {"peer_service": "cart"} for row in spans if row["kind"] == CLIENT]
    assert attempts(REQUEST, *alone) == {"cart": (3, 1, 2, 0)}


def test_call_while_one_of_the_same_request_is_under_way_is_a_hedge() -> None:
    assert attempts(REQUEST, *attempt(1, 0, 50), *attempt(2, 20, 10)) == {"cart": (2, 1, 0, 1)}
    assert attempts(REQUEST, *attempt(1, 0, 50), *attempt(2, 50, 10)) == {"cart": (2, 1, 0, 0)}


def test_calls_in_a_loop_are_many_of_one_request_and_no_retries() -> None:
    assert attempts(REQUEST, *attempt(1, 0, 10), *attempt(2, 20, 10), *attempt(3, 40, 10)) == {"cart": (3, 1, 0, 0)}


def test_another_operation_of_the_callee_is_no_retry() -> None:
    first = attempt(1, 0, 10, status=2)
    assert attempts(REQUEST, *first, *attempt(2, 20, 10, name="POST")) == {"cart": (2, 1, 0, 0)}
    second = attempt(2, 20, 10)
    second[1]["name"] = "GET /user"
    assert attempts(REQUEST, *first, *second) == {"cart": (2, 1, 0, 0)}
    # An attempt that never arrived is of any operation that its client does not tell apart.
    assert attempts(REQUEST, first[0] | {"peer_service": "cart"}, *second) == {"cart": (2, 1, 1, 0)}


def test_retries_below_one_client_span_are_those_of_its_servers() -> None:
    servers = [
        span("s1", "c", "cart", SERVER, start_ns=5, duration_ns=10, name="get", status=2),
        span("s2", "c", "cart", SERVER, start_ns=30, duration_ns=10, name="get"),
    ]
    assert attempts(REQUEST, span("c", "a", "web", CLIENT), *servers) == {"cart": (2, 1, 1, 0)}


def test_attempts_of_two_requests_are_told_apart_and_in_process_spans_between_them_are_not() -> None:
    wrapped = [
        span("i", "a", "web", INTERNAL),
        *(row | ({"parent_span_id": "i"} if row["kind"] == CLIENT else {}) for row in attempt(1, 0, 10, status=2)),
    ]
    assert attempts(REQUEST, *wrapped, *attempt(2, 20, 10)) == {"cart": (2, 1, 1, 0)}
    other = [row | {"trace_id": "u"} for row in (REQUEST, *attempt(2, 20, 10))]
    assert attempts(REQUEST, *wrapped, *other) == {"cart": (2, 2, 0, 0)}


def test_answers_of_http_that_failed_are_told_by_class() -> None:
    def answers(client: dict[str, Any], server: dict[str, Any]) -> tuple[bool, bool]:
        spans = span("a", None, "web", CLIENT, **client), span("b", "a", "cart", SERVER, **server)
        (call,) = link(table(*spans)).calls.to_pylist()
        return call["http_4xx"], call["http_5xx"]

    assert answers({"http_status": 404}, {"http_status": 404}) == (True, False)
    assert answers({"http_status": 503}, {"http_status": 500}) == (False, True)
    assert answers({"status": 2}, {"http_status": 500}) == (False, True)
    assert answers({}, {"http_status": 404}) == (False, False)
    assert answers({"status": 2, "error_type": "UNAVAILABLE"}, {}) == (False, False)


def test_job_and_function_calls_come_from_their_service_which_nobody_calls() -> None:
    # A timer starts a job in-process; an event starts a function, a consumer that may name no broker.
    job = [span("a", None, "nightly", INTERNAL), span("b", "a", "nightly", CLIENT, start_ns=1, peer_service="s3")]
    function = [
        span("a", None, "thumbnail", CONSUMER, trace_id="u"),
        span("b", "a", "thumbnail", CLIENT, trace_id="u", start_ns=1),
        span("c", "b", "cart", SERVER, trace_id="u", start_ns=2),
    ]
    assert calls(*job, *function) == [
        ("nightly", "s3", "external", "client-only"),
        ("thumbnail", "cart", "service", "pair"),
    ]
    assert unlinked(*job, *function) == [("a", "in-process"), ("a", "consumer-without-broker")]


QUEUE = {"messaging_system": "kafka", "messaging_destination": "orders"}


def test_producer_calls_the_destination_which_calls_the_consumer() -> None:
    spans = [
        span("a", None, "shop", PRODUCER, duration_ns=10, messaging_operation="send", **QUEUE),
        span("b", "a", "mail", CONSUMER, start_ns=70, messaging_operation="process", **QUEUE),
    ]
    found = link(table(*spans)).calls.to_pylist()
    assert [(c["caller"], c["caller_kind"], c["callee"], c["callee_kind"], c["queue_ns"]) for c in found] == [
        ("shop", "service", "orders", "messaging", None),
        ("orders", "messaging", "mail", "service", 60),
    ]


def test_consumer_that_names_no_destination_takes_its_producers() -> None:
    spans = [
        span("a", None, "shop", PRODUCER, messaging_operation="send", **QUEUE),
        span("b", "a", "mail", CONSUMER, start_ns=200),
    ]
    assert calls(*spans)[1] == ("orders", "mail", "service", "consumer")


def test_producer_and_consumer_without_a_broker_are_a_pair() -> None:
    spans = span("a", None, "shop", PRODUCER), span("b", "a", "mail", CONSUMER, start_ns=200)
    assert calls(*spans) == [("shop", "mail", "service", "pair")]


def test_consumer_without_broker_makes_no_edge() -> None:
    assert calls(span("a", None, "mail", CONSUMER)) == []
    assert unlinked(span("a", None, "mail", CONSUMER)) == [("a", "consumer-without-broker")]


def test_producer_without_broker_or_consumer_makes_no_edge() -> None:
    assert unlinked(span("a", None, "shop", PRODUCER)) == [("a", "producer-without-broker")]


def test_send_by_a_client_span_is_a_producers_call() -> None:
    sent = span("a", None, "shop", CLIENT, messaging_operation="send", **QUEUE)
    assert calls(sent) == [("shop", "orders", "messaging", "producer")]


def test_receive_settle_and_create_are_no_calls_outwards() -> None:
    spans = [
        span("d", None, "mail", CONSUMER, messaging_operation="process", **QUEUE),
        span("a", None, "mail", CLIENT, messaging_operation="receive", **QUEUE),
        span("b", None, "mail", CLIENT, messaging_operation="settle", **QUEUE),
        span("c", None, "shop", PRODUCER, messaging_operation="create", **QUEUE),
    ]
    assert calls(*spans) == [("orders", "mail", "service", "consumer")]
    assert unlinked(*spans) == [("a", "messaging-receive"), ("b", "messaging-settle"), ("c", "messaging-create")]


def test_service_that_only_receives_consumes_by_receiving() -> None:
    spans = [
        span("a", None, "mail", CLIENT, messaging_operation="receive", **QUEUE),
        span("b", None, "audit", CLIENT, messaging_operation="receive", **QUEUE),
        span("c", None, "audit", CONSUMER, messaging_operation="process", messaging_destination="other"),
    ]
    assert [call[:2] for call in calls(*spans)] == [("orders", "mail"), ("orders", "audit"), ("other", "audit")]
    assert unlinked(*spans) == []


def _link_to(trace: str, *span_ids: str) -> list[dict[str, str]]:
    return [{"trace_id": trace, "span_id": span_id} for span_id in span_ids]


def test_each_link_of_a_batch_is_a_call_through_the_destination() -> None:
    batch = span("b", None, "mail", CONSUMER, status=2, links=[*_link_to("u", "x", "y"), *_link_to("v", "x")], **QUEUE)
    found = link(table(batch)).calls.to_pylist()
    told = [(c["caller"], c["callee"], c["matched"], c["server_span_id"], c["server_error"]) for c in found]
    first = ("orders", "mail", "consumer", "b", True)
    assert sorted(told, key=str) == sorted([first, *[("orders", "mail", "linked", None, False)] * 2], key=str)


@pytest.mark.parametrize("ids", [("t", "u", "v"), ("1" * 32, "2" * 32, "3" * 32)], ids=["opaque", "hex"])
def test_linked_message_of_another_trace_waited_from_the_end_of_its_sending(ids: tuple[str, str, str]) -> None:
    name = str if ids[0] == "t" else lambda text: text.encode().hex().rjust(16, "0")
    sent, created, read = ids
    spans = [
        span(name("a"), None, "shop", PRODUCER, trace_id=sent, start_ns=100, duration_ns=10, **QUEUE),
        span(name("c"), None, "shop", PRODUCER, trace_id=created, messaging_operation="create", start_ns=140, **QUEUE),
        span(name("s"), None, "shop", SERVER, trace_id=created, start_ns=150),
    ]
    links = [*_link_to(sent, name("a")), *_link_to(created, name("c"), name("s")), *_link_to(created, "not recorded")]
    batch = span(name("b"), None, "mail", CONSUMER, trace_id=read, start_ns=1000, links=links, **QUEUE)
    for rows in (spans, [*spans, batch, batch]):
        found = link(table(*rows, batch)).calls.to_pylist()
        queues = [(c["matched"], c["queue_ns"]) for c in found if c["callee"] == "mail"]
        assert sorted(queues, key=str) == [("consumer", None), ("linked", 760), ("linked", 890), ("linked", None)]


def test_link_to_the_parent_is_the_parents_call() -> None:
    spans = [
        span("a", None, "shop", PRODUCER, **QUEUE),
        span("b", "a", "mail", CONSUMER, start_ns=200, links=_link_to("t", "a", "a"), **QUEUE),
    ]
    assert calls(*spans) == [("shop", "orders", "messaging", "producer"), ("orders", "mail", "service", "consumer")]
    spans[1]["links"] = _link_to("t", "a", "z")
    assert [call[3] for call in calls(*spans)] == ["producer", "consumer", "linked"]


def test_message_that_several_consume_is_a_call_to_each() -> None:
    sent = span("a", None, "shop", PRODUCER, messaging_operation="send", **QUEUE)
    read = [span(s, None, s, CONSUMER, trace_id=s, links=_link_to("t", "a"), **QUEUE) for s in ("audit", "mail")]
    found = [call[:2] for call in calls(sent, *read)]
    assert sorted(found) == [("orders", "audit"), ("orders", "mail"), ("shop", "orders")]


def test_links_of_what_is_no_consumer_are_no_calls() -> None:
    assert calls(span("a", None, "web", SERVER, links=_link_to("u", "x", "y"))) == [
        ("external", "web", "service", "server-only")
    ]


def test_timeout_is_told_by_the_client_or_by_a_server_that_went_on() -> None:
    def timeouts(client: dict[str, Any], server: dict[str, Any]) -> int:
        spans = span("a", None, "web", CLIENT, **client), span("b", "a", "cart", SERVER, **server)
        (call,) = link(table(*spans)).calls.to_pylist()
        return int(call["timeouts"])

    for kind in ("timeout", "java.net.SocketTimeoutException", "TimedOut", "DEADLINE_EXCEEDED", "read timed out"):
        assert timeouts({"status": 2, "error_type": kind}, {}) == 1
    assert timeouts({"http_status": 504}, {}) == 1
    assert timeouts({"status": 2}, {"duration_ns": 101}) == 1
    assert timeouts({"status": 2}, {"duration_ns": 100}) == 0
    assert timeouts({}, {"duration_ns": 101, "status": 2, "error_type": "timeout"}) == 0
    assert timeouts({"status": 2, "error_type": "connection refused"}, {}) == 0


def test_errors_of_both_sides_are_kept_apart() -> None:
    def errors(client: dict[str, Any], server: dict[str, Any]) -> tuple[bool, bool]:
        spans = span("a", None, "web", CLIENT, **client), span("b", "a", "cart", SERVER, **server)
        (call,) = link(table(*spans)).calls.to_pylist()
        return call["client_error"], call["server_error"]

    assert errors({"status": 2}, {}) == (True, False)
    assert errors({}, {"status": 2}) == (False, True)
    assert errors({"http_status": 503}, {"http_status": 503}) == (True, True)
    assert errors({"http_status": 404}, {"http_status": 404}) == (True, False)
    assert errors({"error_type": "UNAVAILABLE"}, {}) == (True, False)
    assert errors({"status": 1, "http_status": 404}, {"status": 1}) == (False, False)


def test_no_spans_make_no_calls() -> None:
    found = link(table())
    assert (len(found.calls), len(found.unlinked), len(found.visits)) == (0, 0, 0)
