"""What a receiver answers decides by its status; of the rest a little is read, and told in one line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hooks
import pytest

from hypocenter.hook.outward import Attempt, Outward
from hypocenter.hook.sink import Outgoing
from hypocenter.hook.sinks import create


class Answering:
    """A receiver on a socket that begins each answer with ``head`` and goes on with ``body`` for ever, or stalls."""

    def __init__(self, head: str, body: bytes = b"") -> None:
        self.head, self.body, self.sent = head.replace("\n", "\r\n").encode() + b"\r\n\r\n", body, 0
        self.tasks: list[Any] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.head + self.body)
            while self.body and self.sent < 64 << 20:  # what never ends would fill the memory of who reads it all
                await writer.drain()
                self.sent += len(self.body)
                writer.write(self.body)
            await reader.read()  # until the other side has enough
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def reached(folder: Path, answer: Answering, timeout_s: float) -> AsyncIterator[tuple[Outward, Any]]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = hooks.config(folder, sinks=[{"kind": "webhook", "name": "next", "url": url}], retry={"timeout": timeout_s})
    sink = create(config.sinks[0])
    outward = Outward(config, [sink])
    async with server:
        yield outward, sink
        await outward.close()
        await asyncio.gather(*answer.tasks)


def attempt(folder: Path, answer: Answering, timeout_s: float = 60.0) -> Attempt:
    async def whole() -> Attempt:
        async with reached(folder, answer, timeout_s) as (outward, sink):
            return await outward.attempt(sink, Outgoing(b"{}"), "key")

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", Attempt("delivered")),
        ("503 Busy\nRetry-After: 7", Attempt("retry", "HTTP 503", 7.0)),
        ("400 No", Attempt("refused", "HTTP 400: " + "x" * 200)),
    ],
)
def test_an_answer_without_end_is_read_to_its_bound(tmp_path: Path, status: str, expected: Attempt) -> None:
    answering = Answering(f"HTTP/1.1 {status}", b"x" * 65_536)
    assert attempt(tmp_path, answering) == expected
    # What the sockets of this machine hold may have been sent as well.
    assert answering.sent < 16 << 20


def test_an_answer_that_stalls_after_its_status_counts_as_what_it_says(tmp_path: Path) -> None:
    stalling = Answering("HTTP/1.1 200 OK\nContent-Length: 10")
    assert attempt(tmp_path, stalling, timeout_s=0.2) == Attempt("delivered")
    assert attempt(tmp_path, Answering("HTTP/1.1 404 No\nContent-Length: 10"), timeout_s=0.2) == Attempt(
        "refused", "HTTP 404"
    )


def test_a_packed_answer_is_not_unpacked(tmp_path: Path) -> None:
    packed = Answering("HTTP/1.1 400 No\nContent-Encoding: gzip", b"x" * 1000)
    assert attempt(tmp_path, packed) == Attempt("refused", "HTTP 400")


def test_what_a_receiver_says_forges_no_line_of_the_log_and_steers_no_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = "no\r\n2026-11-29 ERROR hypocenter.hook: forged\x1b[2J\x9b1m\u2028end"
    receiver = hooks.Receiver(lambda _: hooks.httpx.Response(400, text=said))

    async def whole() -> list[str]:
        async with hooks.hook(tmp_path, receiver) as hook:
            await hook.receive(hooks.body(hooks.alert()), "alertmanager")
            await hooks.settled(hook)
            return [letter.content["reason"] for letter in hook.dead]

    with caplog.at_level("INFO", logger="hypocenter"):
        (reason,) = asyncio.run(whole())
    assert reason == "HTTP 400: no  2026-11-29 ERROR hypocenter.hook: forged\ufffd[2J\ufffd1m end"
    (line,) = [r.getMessage() for r in caplog.records if "HTTP 400" in r.getMessage()]
    assert len(line.splitlines()) == 1 and reason in line
