"""The admin port: alive, ready, metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from .telemetry import Telemetry

State = Callable[[], tuple[bool, dict[str, Any]]]


def application(telemetry: Telemetry, state: State, derived: Callable[[], str]) -> Callable[[Any, Any, Any], Any]:
    """Return the ASGI application.

    ``state`` tells whether we are ready, and the facts behind that; ``derived`` returns OpenMetrics of what was
    stored, which ``/metrics`` shows after our own.
    """

    async def answer(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status, content_type, body = 404, "text/plain", b"expected /healthz, /readyz or /metrics\n"
        match scope["path"]:
            case "/healthz":
                status, body = 200, b"ok\n"
            case "/readyz":
                ready, facts = state()
                status, content_type, body = 200 if ready else 503, "application/json", orjson.dumps(facts)
            case "/metrics":
                accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
                own, content_type = telemetry.text(accept)
                status, body = 200, own.removesuffix(_END) + (derived().encode() or _END)
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer


# Of OpenMetrics; to the older text format it is a comment.
_END = b"# EOF\n"
