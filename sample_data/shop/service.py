"""What all services share: calls to peers, the database, the request's log lines, errors, and the control port."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import SyncOpenTelemetryTransport
from prometheus_client import REGISTRY
from prometheus_client.openmetrics import exposition
from psycopg_pool import ConnectionPool
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .replica import Replica
from .switchboard import Switchboard
from .telemetry import traced_cursor

PEER_TIMEOUT_S = 3.0


class PeerError(RuntimeError):
    """A called service failed, refused, or did not answer in time."""


class NotFound(LookupError):
    """The thing asked for does not exist: the caller's mistake, HTTP 404."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request as a handler sees it."""

    path: Mapping[str, Any]
    query: Mapping[str, str]
    body: Mapping[str, Any]


Handler = Callable[[Call], Any]


class _ToReplicas(httpx.BaseTransport):
    """Sends ``http://catalog/...`` to the replicas of catalog in turn, as a cluster's service address does."""

    def __init__(self, peers: Mapping[str, list[str]]) -> None:
        self._inner = httpx.HTTPTransport()
        self._turn = {service: itertools.cycle(addresses) for service, addresses in peers.items()}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host, port = next(self._turn[request.url.host]).split(":")
        url = request.url.copy_with(host=host, port=int(port))
        return self._inner.handle_request(
            httpx.Request(
                request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
            )
        )


class Service:
    """One replica's tools; ``log`` carries the trace context of the request that writes it."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.log = logging.getLogger(replica.service)
        self.faults = Switchboard(f"{replica.seed}/{replica.pod}")
        self.random = random.Random(f"{replica.seed}/{replica.pod}/work")
        self.tracer = trace.get_tracer(f"shop.{replica.service}")
        self._client = httpx.Client(
            transport=SyncOpenTelemetryTransport(_ToReplicas(replica.peers)), timeout=PEER_TIMEOUT_S
        )
        self._pool = ConnectionPool(
            replica.database,
            kwargs={"autocommit": True, "cursor_factory": traced_cursor(), "application_name": replica.pod},
            min_size=1,
            max_size=4,
            open=False,
        )

    def call(self, service: str, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON answer of a peer; raises NotFound for its 404 and PeerError for any other failure."""
        try:
            answer = self._client.request(method, f"http://{service}{path}", json=body)
        except httpx.HTTPError as error:
            self.log.warning("no answer from %s to %s: %s", service, method, type(error).__name__)
            raise PeerError(f"{service} did not answer: {type(error).__name__}") from error
        if answer.status_code == 404:
            raise NotFound(f"{service} does not know it")
        if answer.status_code >= 400:
            self.log.warning("%s answered %s to %s with status %d", service, method, path, answer.status_code)
            raise PeerError(f"{service} answered {answer.status_code}")
        return answer.json()

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, none for one that returns none."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def routes(self, handlers: Mapping[str, Handler]) -> list[Route]:
        """Return the routes of ``handlers`` (by ``"GET /products/{product}"``) with those for control and metrics."""
        found = [self._route(place, handler) for place, handler in handlers.items()]
        return [
            *found,
            Route("/healthz", lambda _request: JSONResponse({"ready": True})),
            Route("/metrics", lambda _request: Response(_metrics(), media_type=exposition.CONTENT_TYPE_LATEST)),
            Route("/control/faults", self._control, methods=["PUT"]),
        ]

    def open(self) -> None:
        """Open the connections to the database."""
        self._pool.open(wait=True)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        self._client.close()

    def _route(self, place: str, handler: Handler) -> Route:
        method, path = place.split(" ")

        async def endpoint(request: Request) -> JSONResponse:
            text = await request.body()
            call = Call(request.path_params, request.query_params, json.loads(text) if text else {})
            return await run_in_threadpool(self._answer, place, handler, call)

        return Route(path, endpoint, methods=[method])

    def _answer(self, place: str, handler: Handler, call: Call) -> JSONResponse:
        try:
            self.faults.enter()
            return JSONResponse(handler(call))
        except NotFound as error:
            self.log.info("%s: not found: %s", place, error)
            return JSONResponse({"error": str(error)}, 404)
        # A service answers 500 to whatever its handler raises, and says so in its span and its log.
        except Exception as error:  # noqa: BLE001
            trace.get_current_span().record_exception(error)
            self.log.error("%s failed: %s: %s", place, type(error).__name__, error)
            return JSONResponse({"error": str(error)}, 500)

    async def _control(self, request: Request) -> JSONResponse:
        self.faults.set(await request.json())
        return JSONResponse({"pid": os.getpid()})


def _metrics() -> bytes:
    text: bytes = exposition.generate_latest(REGISTRY)  # type: ignore[no-untyped-call]
    return text
