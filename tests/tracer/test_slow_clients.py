"""Clients that say little or nothing, at every door: they are given up, and the others are served meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from collecting import Running, collector, exporter

HEADER_TIMEOUT_S, CONNECTIONS = 1.0, 40


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = {"header_timeout_s": HEADER_TIMEOUT_S, "connections": CONNECTIONS}
    with collector(tmp_path_factory.mktemp("slow") / "store", limits=limits) as found:
        yield found


def connected(running: Running, door: str, *sent: bytes) -> socket.socket:
    """Return a connection on which this was sent."""
    made = socket.create_connection(("127.0.0.1", running.ports[door]), timeout=30)
    for number, part in enumerate(sent):
        if number:
            made.recv(1 << 16)  # the answer to the part before
        made.sendall(part)
    return made


def ends(connection: socket.socket) -> bool:
    """Tell whether the server ends the connection; what it still says is read."""
    try:
        while connection.recv(1 << 16):
            continue
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


EMPTY = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [(), (b"POST /v1/traces HTTP/1.1\r\nHost",), (EMPTY, EMPTY[:30])],
    ids=["silent", "cut inside of a header", "cut inside of the second header"],
)
def test_connections_without_a_whole_header_end_and_hold_nobody_up(running: Running, sent: tuple[bytes, ...]) -> None:
    slow = [connected(running, "otlp-http", *sent) for _ in range(CONNECTIONS // 2)]
    begun = time.monotonic()
    assert running.post("/v1/traces", b"").status == 200
    assert time.monotonic() - begun < 10
    assert all(map(ends, slow))
    for one in slow:
        one.close()


def test_more_connections_than_may_be_are_ended_and_make_room(running: Running) -> None:
    many = [connected(running, "otlp-http") for _ in range(2 * CONNECTIONS)]
    assert all(map(ends, many))
    assert running.post("/v1/traces", b"").status == 200
    for one in many:
        one.close()


def test_a_header_beyond_the_limit_is_refused(running: Running) -> None:
    large = connected(running, "otlp-http", EMPTY[:-2] + b"X: " + bytes([65]) * (64 << 10))
    assert large.recv(12) == b"HTTP/1.1 400"
    large.close()


def test_silent_clients_of_grpc_hold_nobody_up(running: Running) -> None:
    silent = [connected(running, "otlp-grpc", *sent) for sent in ((), (b"PRI * HTTP/2.0\r\n",)) for _ in range(30)]
    with exporter(running.ports["otlp-grpc"]) as export:
        assert export(b"", timeout=10) == b""
    for one in silent:
        one.close()
