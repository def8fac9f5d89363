"""The gRPC door: raw bytes of requests to the intake, on asyncio so that waiting costs no thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc

from ..otlp.decode import PROTOBUF
from .answers import UNAUTHENTICATED, Refusal, refusal, response
from .intake import MIB, Intake
from .request import Request
from .security import Tls, Tokens
from .telemetry import Telemetry

_METHODS: Final = {
    f"/opentelemetry.proto.collector.{package}.v1.{service}/Export": kind
    for package, service, kind in (
        ("trace", "TraceService", "traces"),
        ("metrics", "MetricsService", "metrics"),
        ("logs", "LogsService", "logs"),
    )
}
DOOR: Final = "otlp-grpc"
_METADATA_BYTES: Final = 16 * 1024
# What core holds for one connection before our code sees it.
_STREAMS: Final = 256
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def server(
    address: str, intake: Intake, telemetry: Telemetry, *, request_bytes: int, tls: Tls | None, tokens: Tokens | None
) -> tuple[grpc.aio.Server, int]:
    """Return a server that is not started yet, and its port."""
    options = [
        ("grpc.max_receive_message_length", request_bytes),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.max_concurrent_streams", _STREAMS),
        ("grpc.http2.lookahead_bytes", MIB),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_connection_idle_ms", 3_600_000),
    ]
    made = grpc.aio.server(options=options, compression=grpc.Compression.NoCompression)
    made.add_generic_rpc_handlers((_Door(intake, telemetry, tokens),))
    port = made.add_secure_port(address, _credentials(tls)) if tls else made.add_insecure_port(address)
    return made, port


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    authority = None if tls.client_ca is None else tls.client_ca.read_bytes()
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)


class _Door(grpc.GenericRpcHandler):  # type: ignore[misc]  # untyped base
    def __init__(self, intake: Intake, telemetry: Telemetry, tokens: Tokens | None) -> None:
        self._intake, self._telemetry, self._tokens = intake, telemetry, tokens
        self._handlers = {
            method: grpc.unary_unary_rpc_method_handler(self._export(kind)) for method, kind in _METHODS.items()
        }

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method, None for one that we do not serve."""
        return self._handlers.get(handler_call_details.method)

    def _export(self, kind: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def export(payload: bytes, context: Any) -> bytes:
            if self._tokens is not None and not self._tokens.admit(_authorization(context)):
                self._telemetry.refused(DOOR, "unauthenticated")
                return await _abort(context, Refusal("unauthenticated", UNAUTHENTICATED, 401, "no valid bearer token"))
            try:
                accepted = await asyncio.wrap_future(self._intake.submit(Request(kind, PROTOBUF, payload)))
            except Exception as error:  # noqa: BLE001  whatever went wrong, the sender needs the protocol's answer
                found = refusal(error)
                self._telemetry.refused(DOOR, found.reason)
                return await _abort(context, found)
            self._telemetry.accepted(DOOR)
            return response(kind, accepted, PROTOBUF)

        return export


def _authorization(context: Any) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else ""
    return ""


async def _abort(context: Any, found: Refusal) -> bytes:
    details = (("grpc-status-details-bin", found.status().SerializeToString()),)
    await context.abort(_CODES[found.code], found.message, details)
    raise AssertionError("abort raises")
