"""The admin port: alive, ready, metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from .telemetry import Telemetry

State = Callable[[], tuple[bool, dict[str, Any]]]


def application(telemetry: Telemetry, state: State) -> Callable[[Any, Any, Any], Any]:
    """Return the ASGI application; ``state`` tells whether we are ready, and the facts behind that."""

    async def answer(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status, content_type, body = 404, b"text/plain", b"expected /healthz, /readyz or /metrics\n"
        match scope["path"]:
            case "/healthz":
                status, body = 200, b"ok\n"
            case "/readyz":
                ready, facts = state()
                status, content_type, body = 200 if ready else 503, b"application/json", orjson.dumps(facts)
            case "/metrics":
                status, content_type, body = 200, b"text/plain; version=0.0.4; charset=utf-8", telemetry.text()
        headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer
