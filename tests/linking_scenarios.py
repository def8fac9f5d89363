"""Spans of one small trace for each linking rule, and the calls that we and others make of them.

A call is a word, ``caller>callee``, with ``!`` when it failed; Jaeger records no failures. What differs is said in
docs/linking.md, "What others count", under the same name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hypocenter.semconv import (
    KIND_CLIENT,
    KIND_CONSUMER,
    KIND_INTERNAL,
    KIND_PRODUCER,
    KIND_SERVER,
    STATUS_ERROR,
    STATUS_UNSET,
)
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.window import SECOND_NS

Row = dict[str, Any]
START_NS = 1_700_000_000 * SECOND_NS
FAILED: Row = {"status": STATUS_ERROR}
TOPIC: Row = {"messaging_system": "kafka", "messaging_destination": "orders"}


@dataclass(frozen=True)
class Scenario:
    """``rows`` and what each linker makes of them; services are told apart from other scenarios by ``name/``."""

    name: str
    rows: tuple[Row, ...]
    ours: str
    collector: str
    jaeger: str = ""

    def spans(self) -> pa.Table:
        own = {"trace_id": hashlib.md5(self.name.encode()).hexdigest()}
        rows = [row | own | {"service": f"{self.name}/{row['service']}"} for row in self.rows]
        return pa.Table.from_pylist(rows, SPANS)

    def own(self, words: Counter[str]) -> Counter[str]:
        """Return those words that are of this scenario's services."""
        return Counter({w.replace(f"{self.name}/", ""): n for w, n in words.items() if f"{self.name}/" in w})


def _span(span_id: str, parent: str | None, service: str, kind: int, **more: Any) -> Row:
    row: Row = dict.fromkeys(SPANS.names) | {"service": service, "kind": kind, "name": f"op-{span_id}"}
    row |= {"span_id": span_id.zfill(16), "parent_span_id": parent and parent.zfill(16), "status": STATUS_UNSET}
    order = int(span_id, 16)
    row |= {"start_ns": START_NS + order * 10**6, "duration_ns": 10**8 - 2 * order * 10**6, "adjusted_milli": 1000}
    return row | {"source": "scenario"} | more


def server(span_id: str, parent: str | None, service: str, **more: Any) -> Row:
    return _span(span_id, parent, service, KIND_SERVER, **more)


def client(span_id: str, parent: str | None, service: str, **more: Any) -> Row:
    return _span(span_id, parent, service, KIND_CLIENT, **more)


def internal(span_id: str, parent: str | None, service: str) -> Row:
    return _span(span_id, parent, service, KIND_INTERNAL)


def producer(span_id: str, parent: str | None, service: str, **more: Any) -> Row:
    return _span(span_id, parent, service, KIND_PRODUCER, **more)


def consumer(span_id: str, parent: str | None, service: str, **more: Any) -> Row:
    return _span(span_id, parent, service, KIND_CONSUMER, **more)


ROOT = server("a", None, "web")

SCENARIOS = (
    Scenario(
        "client and server",
        (ROOT, client("b", "a", "web"), server("c", "b", "cart")),
        ours="external>web web>cart",
        collector="user>web web>cart",
        jaeger="web>web web>cart",
    ),
    Scenario(
        "failed on the client side",
        (client("b", None, "web", **FAILED), server("c", "b", "cart")),
        ours="web>cart!",
        collector="web>cart!",
        jaeger="web>cart",
    ),
    Scenario(
        "failed on the server side",
        (client("b", None, "web"), server("c", "b", "cart", **FAILED)),
        ours="web>cart!",
        collector="web>cart!",
        jaeger="web>cart",
    ),
    Scenario(
        "failed by status code alone",
        (client("b", None, "web"), server("c", "b", "cart", http_status=503)),
        ours="web>cart!",
        collector="web>cart",
        jaeger="web>cart",
    ),
    Scenario(
        "server without client",
        (ROOT, server("b", "a", "cart")),
        ours="external>web web>cart",
        collector="user>web",
        jaeger="web>cart",
    ),
    Scenario(
        "in-process span below another service",
        (ROOT, internal("b", "a", "cart")),
        ours="external>web web>cart",
        collector="user>web",
        jaeger="web>cart",
    ),
    Scenario(
        "client below another service",
        (ROOT, client("b", "a", "web", peer_service="lb"), client("c", "b", "cart", peer_service="bank")),
        ours="external>web web>cart cart>bank",
        collector="user>web web>lb cart>bank",
        jaeger="web>web web>cart",
    ),
    Scenario(
        "parent not recorded",
        (server("b", "a", "web"),),
        ours="external>web",
        collector="",
    ),
    Scenario(
        "database",
        (ROOT, client("b", "a", "web", db_system="postgresql", db_name="shop", peer_address="db-1")),
        ours="external>web web>db-1",
        collector="user>web web>shop",
        jaeger="web>web",
    ),
    Scenario(
        "cache",
        (ROOT, client("b", "a", "web", db_system="redis", peer_address="redis-1")),
        ours="external>web web>redis-1",
        collector="user>web web>redis-1",
        jaeger="web>web",
    ),
    Scenario(
        "external service",
        (ROOT, client("b", "a", "web", peer_service="bank", **FAILED)),
        ours="external>web web>bank!",
        collector="user>web web>bank!",
        jaeger="web>web",
    ),
    Scenario(
        "client that names no peer",
        (ROOT, client("b", "a", "web")),
        ours="external>web",
        collector="user>web web>unknown",
        jaeger="web>web",
    ),
    Scenario(
        "in-process spans",
        (ROOT, internal("b", "a", "web"), internal("c", "b", "web"), client("d", "c", "web"), server("e", "d", "cart")),
        ours="external>web web>cart",
        collector="user>web web>cart",
        jaeger="web>web web>web web>web web>cart",
    ),
    Scenario(
        "message through a broker",
        (producer("b", None, "web", **TOPIC), consumer("c", "b", "mail", **TOPIC, **FAILED)),
        ours="web>orders orders>mail!",
        collector="web>mail!",
        jaeger="web>mail",
    ),
    Scenario(
        "message without a broker",
        (producer("b", None, "web"), consumer("c", "b", "mail")),
        ours="web>mail",
        collector="web>mail",
        jaeger="web>mail",
    ),
    Scenario(
        "message that nothing processed",
        (producer("b", None, "web", **TOPIC),),
        ours="web>orders",
        collector="web>orders",
    ),
    Scenario(
        "message from a producer not recorded",
        (consumer("c", "b", "mail", **TOPIC),),
        ours="orders>mail",
        collector="",
    ),
    Scenario(
        "consumer that is a root",
        (consumer("c", None, "mail", **TOPIC),),
        ours="orders>mail",
        collector="user>mail",
    ),
    Scenario(
        "one message, two consumers",
        (
            producer("b", None, "web", **TOPIC),
            consumer("c", "b", "mail", **TOPIC),
            consumer("d", "b", "audit", **TOPIC),
        ),
        ours="web>orders orders>mail orders>audit",
        collector="web>mail",
        jaeger="web>mail web>audit",
    ),
    Scenario(
        "retries with a client span each",
        (
            *(ROOT, client("b", "a", "web", **FAILED), server("c", "b", "cart", **FAILED)),
            *(client("d", "a", "web"), server("e", "d", "cart")),
        ),
        ours="external>web web>cart! web>cart",
        collector="user>web web>cart! web>cart",
        jaeger="web>web web>web web>cart web>cart",
    ),
    Scenario(
        "retries below one client span",
        (client("b", None, "web"), server("c", "b", "cart", **FAILED), server("d", "b", "cart")),
        ours="web>cart! web>cart",
        collector="web>cart!",
        jaeger="web>cart web>cart",
    ),
    Scenario(
        "call of a service to itself",
        (client("b", None, "web"), server("c", "b", "web")),
        ours="web>web",
        collector="web>web",
        jaeger="web>web",
    ),
    Scenario(
        "export that was repeated",
        (client("b", None, "web"), server("c", "b", "cart"), server("c", "b", "cart")),
        ours="web>cart",
        collector="web>cart",
        jaeger="web>cart web>cart",
    ),
    Scenario(
        "export of both sides that was repeated",
        (client("b", None, "web"), server("c", "b", "cart"), client("b", None, "web"), server("c", "b", "cart")),
        ours="web>cart",
        collector="web>cart web>cart",
        jaeger="web>cart web>cart",
    ),
    Scenario(
        "two roots in a trace",
        (ROOT, server("b", None, "cart")),
        ours="external>web external>cart",
        collector="user>cart",
    ),
)
