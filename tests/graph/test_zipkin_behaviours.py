"""What Zipkin's linker is published to do, asked of ours; where ours answers otherwise the test says why.

Two differences run through all: a server without a caller is called by `external` here and by nobody there, so that
traffic from outside is an edge too; and every span that makes no call is counted under a reason.
"""

import io
import json
from collections import Counter
from typing import Any

import pytest

from hypocenter.graph.link import Links, link
from hypocenter.tracer.batch import concat
from hypocenter.tracer.detect import decode, detect
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.source import Source, decompressed

CLIENT, SERVER, PRODUCER, CONSUMER = "CLIENT", "SERVER", "PRODUCER", "CONSUMER"
Edges = dict[tuple[str, str], tuple[int, int]]


def span(
    parent: str | None, span_id: str, kind: str | None, local: str | None, remote: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return a span of Zipkin's JSON: ``local`` and ``remote`` are the services of its two endpoints."""
    row = {"traceId": "a".zfill(16), "id": span_id.zfill(16), "name": "op", "timestamp": 10**15, "duration": 1000}
    ends = {"localEndpoint": local, "remoteEndpoint": remote}
    row |= {name: {"serviceName": service} for name, service in ends.items() if service}
    row |= {"parentId": parent.zfill(16)} if parent else {}
    return row | ({"kind": kind} if kind else {}) | more


ERROR: dict[str, Any] = {"tags": {"error": ""}}
SHARED: dict[str, Any] = {"shared": True}


def linked(*spans: dict[str, Any]) -> Links:
    source = Source("zipkin.json", decompressed(io.BytesIO(json.dumps(spans).encode())))
    return link(concat(decode(source, detect(source))).table("spans"))


def edges(*spans: dict[str, Any], outside: bool = False) -> Edges:
    """Return calls and errors by caller and callee; those from outside, which Zipkin has none of, only on request."""
    count: Counter[tuple[str, str]] = Counter()
    errors: Counter[tuple[str, str]] = Counter()
    for call in linked(*spans).calls.to_pylist():
        if outside or call["caller"] != "external":
            count[call["caller"], call["callee"]] += 1
            errors[call["caller"], call["callee"]] += call["client_error"] or call["server_error"]
    return {ends: (count[ends], errors[ends]) for ends in count}


def reasons(*spans: dict[str, Any]) -> list[str]:
    found: list[str] = linked(*spans).unlinked["reason"].to_pylist()
    return found


# web -> app -> db, in the reverse order in which spans are reported; both sides of the first call share an id.
TRACE = [
    span("b", "c", CLIENT, "app", "db", **ERROR),
    span("a", "b", SERVER, "app", "web", **SHARED),
    span("a", "b", CLIENT, "web", "app"),
    span(None, "a", SERVER, "web"),
]
TRACE_EDGES = {("web", "app"): (1, 0), ("app", "db"): (1, 1)}


def test_shared_ids_and_a_database() -> None:
    assert edges(*TRACE) == TRACE_EDGES


def test_the_trace_id_need_not_be_the_id_of_the_root() -> None:
    assert edges(*(row | {"traceId": "123".zfill(16)} for row in TRACE)) == TRACE_EDGES


def test_a_shared_server_span_that_lost_its_parent_finds_its_client() -> None:
    spans = [
        span(None, "b", SERVER, "link", "arn", **SHARED),
        span("a", "b", CLIENT, "arn", "link"),
        span(None, "a", SERVER, "arn"),
    ]
    assert edges(*spans) == {("arn", "link"): (1, 0)}


def test_a_server_whose_client_span_is_lost_too_is_called_from_outside() -> None:
    """Zipkin takes the caller's name from the server's remote endpoint.

    Ours believes only what the caller recorded: behind a proxy or a balancer that name is not the caller's.
    """
    spans = [TRACE[0], span(None, "b", SERVER, "app", "web", **SHARED), TRACE[3]]
    assert edges(*spans, outside=True) == {
        ("external", "web"): (1, 0),
        ("external", "app"): (1, 0),
        ("app", "db"): (1, 1),
    }


def test_a_consumer_that_names_the_broker_is_called_by_it() -> None:
    spans = span(None, "a", PRODUCER, "producer"), span("a", "b", CONSUMER, "consumer", "kafka")
    assert edges(*spans) == {("kafka", "consumer"): (1, 0)}
    assert reasons(*spans) == ["producer-without-broker"]


def test_a_consumer_that_names_no_broker_takes_that_of_its_producer() -> None:
    """Zipkin stops at producer -> broker; ours knows from the parent which broker the message came through."""
    spans = span(None, "a", PRODUCER, "producer", "kafka"), span("a", "b", CONSUMER, "consumer")
    assert edges(*spans) == {("producer", "kafka"): (1, 0), ("kafka", "consumer"): (1, 0)}


@pytest.mark.parametrize(("sent_to", "came_from"), [("kafka", "kafka"), ("kafka-1", "kafka-2")])
def test_producer_and_consumer_meet_their_own_broker(sent_to: str, came_from: str) -> None:
    spans = span(None, "a", PRODUCER, "producer", sent_to), span("a", "b", CONSUMER, "consumer", came_from)
    assert edges(*spans) == {("producer", sent_to): (1, 0), (came_from, "consumer"): (1, 0)}


def test_without_any_broker_producer_and_consumer_are_a_pair() -> None:
    """Zipkin makes no edge. Ours does not drop a call whose both ends are known; only its broker is not."""
    spans = span(None, "a", PRODUCER, "producer"), span("a", "b", CONSUMER, "consumer")
    assert edges(*spans) == {("producer", "consumer"): (1, 0)}


@pytest.mark.parametrize(
    "server", [span("a", "b", SERVER, "server"), span(None, "a", SERVER, "server", **SHARED)], ids=["child", "shared"]
)
def test_a_server_answers_a_producer(server: dict[str, Any]) -> None:
    assert edges(span(None, "a", PRODUCER, "producer"), server) == {("producer", "server"): (1, 0)}


def test_a_consumer_under_a_client_is_a_call() -> None:
    """Zipkin makes no edge. Older instrumentation sends messages in client spans, and both ends are known."""
    spans = span(None, "a", CLIENT, "client"), span("a", "b", CONSUMER, "consumer")
    assert edges(*spans) == {("client", "consumer"): (1, 0)}


def test_a_lone_client_with_a_peer_is_a_call() -> None:
    assert edges(span(None, "a", CLIENT, "client", "server", **SHARED)) == {("client", "server"): (1, 0)}


def test_a_lone_server_is_called_from_outside_whatever_peer_it_names() -> None:
    """Zipkin takes the remote endpoint for the caller; see the lost client span above."""
    assert edges(span(None, "a", SERVER, "server", "client"), outside=True) == {("external", "server"): (1, 0)}


def test_each_client_span_is_a_call() -> None:
    spans = [span("a", name, CLIENT, "client", "server") for name in "bc"]
    assert edges(span(None, "a", SERVER, "client"), *spans) == {("client", "server"): (2, 0)}


def test_client_spans_without_a_service_keep_their_own_node() -> None:
    """Zipkin lends them the service of the server above. Ours guesses no name: the spans are those of
    `unknown_service`, which `hypocenter doctor` reports."""
    spans = span(None, "a", SERVER, "client"), span("a", "b", CLIENT, None, "server")
    assert edges(*spans) == {("client", "unknown_service"): (1, 0), ("unknown_service", "server"): (1, 0)}


def test_a_trace_given_twice_counts_once() -> None:
    """Zipkin adds up what it is given; ours takes the same ids for the same spans, exported again."""
    spans = [span(None, "a", SERVER, "client"), span("a", "b", CLIENT, "client", "server")]
    assert edges(*spans, *spans) == {("client", "server"): (1, 0)}
    assert reasons(*spans, *spans) == ["duplicate", "duplicate"]


@pytest.mark.parametrize("peer", [None, "server", "another-name"])
def test_both_sides_are_one_call_and_the_server_names_itself(peer: str | None) -> None:
    spans = span(None, "a", CLIENT, "client", peer), span("a", "b", SERVER, "server")
    assert edges(*spans) == {("client", "server"): (1, 0)}


@pytest.mark.parametrize(
    ("client", "server", "errors"), [(ERROR, {}, 1), ({}, ERROR, 1), (ERROR, ERROR, 1), ({}, {}, 0)]
)
@pytest.mark.parametrize("parent", ["a", None], ids=["child", "shared"])
def test_a_call_fails_once_when_either_side_failed(
    client: dict[str, Any], server: dict[str, Any], errors: int, parent: str | None
) -> None:
    ends = {"id": "b".zfill(16)} if parent else SHARED
    spans = span(None, "a", CLIENT, "web", **client), span(parent, "a", SERVER, "app", **server, **ends)
    assert edges(*spans) == {("web", "app"): (1, errors)}


def test_several_servers_under_one_client_are_several_calls() -> None:
    servers = span("a", "b", SERVER, "server", "client", **ERROR), span("a", "c", SERVER, "server", "client")
    assert edges(span(None, "a", CLIENT, "client"), *servers) == {("client", "server"): (2, 1)}


def test_in_process_spans_between_a_server_and_its_clients_change_nothing() -> None:
    spans = [
        span(None, "a", SERVER, "web"),
        span("a", "b", None, "web"),
        span("b", "c", CLIENT, "web", "db", **ERROR),
        span("b", "d", CLIENT, "web", "db"),
    ]
    assert edges(*spans) == {("web", "db"): (2, 1)}
    assert reasons(*spans) == ["in-process"]


def test_a_client_under_another_service_stands_for_the_server_that_is_missing() -> None:
    spans = span(None, "a", SERVER, "foo"), span("a", "b", CLIENT, "bar", "baz", **ERROR)
    assert edges(*spans) == {("foo", "bar"): (1, 0), ("bar", "baz"): (1, 1)}


def test_the_missing_server_is_found_without_a_peer_too() -> None:
    """As in Zipkin, its error is not that of the call to it: the side that failed is the next one."""
    spans = span(None, "a", SERVER, "web"), span("a", "b", CLIENT, "app", **ERROR)
    assert edges(*spans) == {("web", "app"): (1, 0)}


def test_a_service_that_is_not_named_between_two_hides_their_edge() -> None:
    """Zipkin looks up past spans without a service to the nearest named one; ours looks at the parent alone, so that
    the unnamed service is seen, and repaired where it is."""
    spans = [span(None, "a", SERVER, "web"), span("a", "b", None, None), span("b", "c", CLIENT, "app")]
    assert edges(*spans) == {("web", "unknown_service"): (1, 0), ("unknown_service", "app"): (1, 0)}


def test_an_annotation_named_error_is_no_error() -> None:
    spans = span("b", "c", CLIENT, "foo", "bar", annotations=[{"timestamp": 1, "value": "error"}])
    assert edges(spans) == {("foo", "bar"): (1, 0)}


def test_a_client_that_calls_its_own_service_is_a_loop() -> None:
    assert edges(span(None, "a", CLIENT, "service", "service")) == {("service", "service"): (1, 0)}


def test_without_kinds_services_above_and_below_tell_the_calls() -> None:
    """Zipkin takes a span without kind for a client, so its peers are callees and app -> db is an edge as well.

    Here a span below another service is the arrival of a call, which accounts for each span once; the peer of an
    arrival is not believed. An error is that of the call that arrived: some-client -> web, where Zipkin has web -> app.
    """
    spans = [
        span(None, "a", None, "some-client", "web"),
        span("a", "b", None, "web", "app", **ERROR),
        span("b", "c", None, "app", "db"),
    ]
    assert edges(*spans) == {("some-client", "web"): (1, 1), ("web", "app"): (1, 0)}


@pytest.mark.parametrize(
    ("lone", "ours"),
    [
        (span(None, "a", SERVER, None), {("external", "unknown_service"): (1, 0)}),
        (span(None, "a", SERVER, "server"), {("external", "server"): (1, 0)}),
        (span(None, "a", SERVER, None, "client"), {("external", "unknown_service"): (1, 0)}),
        (span(None, "a", CLIENT, None), {}),
        (span(None, "a", CLIENT, "client"), {}),
        (span(None, "a", CLIENT, None, "server"), {("unknown_service", "server"): (1, 0)}),
    ],
)
def test_a_lone_span_that_misses_a_name(lone: dict[str, Any], ours: Edges) -> None:
    """Zipkin makes no edge of any. Ours keeps traffic from outside, and that of a service whose name is missing."""
    assert edges(lone, outside=True) == ours
    assert reasons(lone) == ([] if ours else ["client-without-peer"])


def test_siblings_below_a_missing_parent_are_not_linked_to_each_other() -> None:
    spans = span("a", "b", SERVER, "service1"), span("a", "c", SERVER, "service2")
    assert edges(*spans) == {}


def test_spans_below_a_missing_parent_are_linked_among_themselves() -> None:
    spans = span("a", "b", SERVER, "service1"), span("b", "c", SERVER, "service2")
    assert edges(*spans) == {("service1", "service2"): (1, 0)}


def test_no_spans_make_no_edges() -> None:
    assert link(SPANS.empty_table()).calls.num_rows == 0
