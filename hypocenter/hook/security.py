"""The way in: who may speak, and how much."""

from __future__ import annotations

import base64
import binascii
import hmac
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

# Anybody may know that the process lives; what it knows of incidents is for those who may ask.
_OPEN = frozenset({"/healthz", "/readyz"})
# A page shows what the hook itself wrote: no script, no frame, nothing from elsewhere.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Authenticated:
    """ASGI middleware: any of the configured credentials opens every path but the health checks."""

    def __init__(self, app: ASGIApp, bearer: str | None, basic: str | None) -> None:
        self._app = app
        self._bearer, self._basic = bearer, basic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])

        async def guarded(message: object) -> None:
            if isinstance(message, dict) and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)  # type: ignore[arg-type]

        if scope["path"] not in _OPEN and not self._may(headers.get(b"authorization", b"")):
            challenge = "Basic realm=hypocenter" if self._basic else "Bearer"
            answer = PlainTextResponse("credentials are needed\n", 401, {"WWW-Authenticate": challenge})
            await answer(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _may(self, header: bytes) -> bool:
        if self._bearer is None and self._basic is None:
            return True
        scheme, _, given = header.decode("latin-1").partition(" ")
        if scheme.lower() == "bearer" and self._bearer is not None:
            return hmac.compare_digest(given.strip().encode("latin-1"), self._bearer.encode())
        if scheme.lower() == "basic" and self._basic is not None:
            try:
                return hmac.compare_digest(base64.b64decode(given, validate=True), self._basic.encode())
            except (ValueError, binascii.Error):
                return False
        return False


async def read_body(request: Request, limit: int) -> bytes | None:
    """Return the body, None as soon as it is longer than ``limit`` bytes, whatever its header says."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        return None
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    return b"".join(parts)


def is_from_elsewhere(request: Request) -> bool:
    """Whether a browser sent a form of another site, with the credentials that it keeps for this one."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    # Behind a proxy the scheme differs; the host is what the browser named.
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def too_large(limit: int) -> Response:
    """Return the answer to a body that is too long."""
    return PlainTextResponse(f"the body is longer than {limit} bytes\n", 413)
