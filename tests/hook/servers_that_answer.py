"""A server on loopback that answers each GET as it is told, and remembers what was asked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextlib.contextmanager
def serving(get: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[tuple[str, Message]]]]:
    """Yield the address of a server that answers by ``get``, and the paths and headers of its requests."""
    requests: list[tuple[str, Message]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append((self.path, self.headers))
            with contextlib.suppress(ConnectionError):  # who asked may be gone
                get(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
