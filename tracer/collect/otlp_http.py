"""The HTTP door: OTLP in protobuf and JSON, and Zipkin v2, as a raw ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from hypocenter.errors import HypocenterError

from ..otlp.decode import JSON, PROTOBUF
from .answers import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAUTHENTICATED, UNAVAILABLE, Refusal, refusal, response
from .http_body import Broken, TooLarge, Unsupported, read_body
from .intake import Intake
from .request import ZIPKIN, Accepted, Request
from .security import Tokens
from .telemetry import Telemetry

DOOR: Final = "otlp-http"
_PATHS: Final = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs", "/api/v2/spans": ZIPKIN}
_NOT_FOUND: Final = 5
_UNIMPLEMENTED: Final = 12
_ENDED: Final = 499


def application(
    intake: Intake, telemetry: Telemetry, *, request_bytes: int, body_timeout_s: float, tokens: Tokens | None
) -> Callable[[Any, Any, Any], Any]:
    """Return the ASGI application of the door."""

    async def answer(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        kind = _PATHS.get(scope["path"])
        door = ZIPKIN if kind == ZIPKIN else DOOR
        content_type = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if kind == ZIPKIN and not content_type:
            content_type = JSON
        found = _unacceptable(scope["method"], kind, headers, content_type, tokens)
        if found is None:
            assert kind is not None
            try:
                body = await read_body(receive, headers, intake, limit=request_bytes, timeout_s=body_timeout_s)
                accepted = await _stored(intake, Request(kind, content_type, body))
            except Exception as error:  # noqa: BLE001  whatever went wrong, the sender needs the protocol's answer
                found = _refusal(error, request_bytes)
            else:
                telemetry.accepted(door)
                if kind == ZIPKIN:
                    await _send(send, 202, content_type, b"")
                else:
                    await _send(send, 200, content_type, response(kind, accepted, content_type))
                return
        telemetry.refused(door, found.reason)
        if found.http != _ENDED:
            # An unread body would be taken for the next request; closing also stops a sender that is too slow.
            extra = [(b"connection", b"close")] if found.http in (401, 413, 415, 429, 503) else []
            if found.http == 401:
                extra.append((b"www-authenticate", b"Bearer"))
            if found.retry_after_s is not None:
                extra.append((b"retry-after", str(found.retry_after_s).encode()))
            encoding = content_type if content_type in (PROTOBUF, JSON) else JSON
            await _send(send, found.http, encoding, found.body(encoding), extra)

    return answer


async def _stored(intake: Intake, request: Request) -> Accepted:
    if not request.payload and request.content_type == PROTOBUF:
        return Accepted()  # an empty request is a valid one
    return await asyncio.wrap_future(intake.submit(request))


def _unacceptable(
    method: str, kind: str | None, headers: Mapping[bytes, bytes], content_type: str, tokens: Tokens | None
) -> Refusal | None:
    if tokens is not None and not tokens.admit(headers.get(b"authorization", b"").decode("latin-1")):
        return Refusal("unauthenticated", UNAUTHENTICATED, 401, "no valid bearer token")
    if kind is None:
        return Refusal("unknown path", _NOT_FOUND, 404, f"expected a POST to one of {', '.join(_PATHS)}")
    if method != "POST":
        return Refusal("unknown method", _UNIMPLEMENTED, 405, "expected POST")
    expected = (JSON,) if kind == ZIPKIN else (PROTOBUF, JSON)
    if content_type not in expected:
        return Refusal("content type", INVALID_ARGUMENT, 415, f"expected content-type {' or '.join(expected)}")
    return None


def _refusal(error: Exception, limit: int) -> Refusal:
    match error:
        case TooLarge():
            return Refusal("too large", RESOURCE_EXHAUSTED, 413, f"expected at most {limit} bytes, decompressed")
        case Unsupported():
            return Refusal("content encoding", INVALID_ARGUMENT, 415, str(error))
        case Broken():
            ended = "connection" in str(error)
            return Refusal("broken body", INVALID_ARGUMENT, _ENDED if ended else 400, str(error))
        case TimeoutError():
            return Refusal("slow", UNAVAILABLE, 503, "the body did not arrive in time", 1)
        case HypocenterError():
            return refusal(error)
    return refusal(error)


async def _send(
    send: Any, status: int, content_type: str, body: bytes, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-type", content_type.encode("latin-1")), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers + (extra or [])})
    await send({"type": "http.response.body", "body": body})
