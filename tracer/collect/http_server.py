"""uvicorn inside of our loop: no signal handlers of its own, bounds on headers, connections and idleness."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hypocenter.errors import SourceError

from .security import Tls

_HEADER_BYTES = 16 * 1024


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, the host without brackets; ValueError for other text."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"expected HOST:PORT, got {text!r}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


class HttpServer(uvicorn.Server):
    """A server that runs as a task of the loop it is started in."""

    def __init__(
        self, address: str, application: Any, *, tls: Tls | None, header_timeout_s: float, connections: int
    ) -> None:
        options: dict[str, Any] = {}
        if tls is not None:
            options = {"ssl_certfile": str(tls.certificate), "ssl_keyfile": str(tls.key)}
            if tls.client_ca is not None:
                options |= {"ssl_ca_certs": str(tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        super().__init__(
            uvicorn.Config(
                application,
                http=_protocol(header_timeout_s, connections),
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=65,
                timeout_graceful_shutdown=30,
                h11_max_incomplete_event_size=_HEADER_BYTES,
                **options,
            )
        )
        self._socket = _bound(*address_of(address))
        self.port: int = self._socket.getsockname()[1]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the collector."""
        yield

    async def start_serving(self) -> asyncio.Task[None]:
        """Return the task that serves, once the port accepts."""
        task = asyncio.create_task(self.serve(sockets=[self._socket]))
        while not self.started and not task.done():
            await asyncio.sleep(0.01)
        return task


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        raise SourceError(f"{host}:{port}: cannot listen ({error.strerror}); choose another address") from error
    return bound


def _protocol(header_timeout_s: float, connections: int) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with an end to connections that are too many, or too slow with a request's header."""

    class Bounded(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > connections:
                transport.abort()
            else:
                self._deadline = self.loop.call_later(header_timeout_s, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._end_deadline()
            elif self._deadline is None:  # the beginning of a further request
                self._deadline = self.loop.call_later(header_timeout_s, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_deadline()
            super().connection_lost(exc)

        def _end_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Bounded
