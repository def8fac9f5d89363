"""The collector as a service: doors, sources, commits and upkeep, from start to drained."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from typing import Any

from hypocenter.errors import SourceError

from ..privacy import Privacy
from ..store.remote import RemoteStore, store_at
from . import admin, otlp_grpc, otlp_http
from .config import Hidden, Settings
from .http_server import HttpServer
from .intake import BatchSink, Intake
from .pulling import Pulling
from .security import Tokens
from .source import Source
from .telemetry import Telemetry
from .upkeep import Refresh, UpkeepProcess

_log = logging.getLogger(__name__)
_DRAIN_S = 30.0
_LOOK_EVERY_S = 1.0


class Collector:
    """One collector of a store.

    Parameters
    ----------
    settings
        What `hypocenter.tracer.collect.config.read_settings` returns.
    sources
        What is pulled or watched besides the doors.
    refresh
        Brings what is derived from the store up to date, and may return OpenMetrics for ``/metrics``. It is pickled,
        and called in the upkeep process.
    open_store
        A function of a module that returns what writes; called in each worker.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source] = (),
        *,
        refresh: Refresh | None = None,
        open_store: Callable[[str], Any] = store_at,
    ) -> None:
        self._settings, self._sources = settings, sources
        self._refresh, self._open_store = refresh, open_store
        self._draining = False
        self.ports: dict[str, int] = {}

    def run(self, ready: Callable[[dict[str, int]], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then drain; ``ready`` is told the port of each door.

        Raises SourceError when the store or an address cannot be used.
        """
        asyncio.run(self._run(ready))

    async def _run(self, ready: Callable[[dict[str, int]], None] | None) -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        settings = self._settings
        _prepare(settings)
        privacy, telemetry = _privacy(settings.privacy), Telemetry()
        tokens = None if settings.security.tokens_file is None else Tokens(settings.security.tokens_file)
        intake = Intake(settings.store, privacy, settings.bounds, telemetry, self._open_store)
        upkeep = UpkeepProcess(settings.store, settings.upkeep, self._refresh, telemetry.upkeep)
        pulling = Pulling(self._sources, BatchSink(settings.store, privacy, telemetry, self._open_store), telemetry)
        state = _State(self, intake, pulling, upkeep)
        grpc_server, servers, tasks = None, list[HttpServer](), list[asyncio.Task[None]]()
        try:
            grpc_server = self._grpc(intake, telemetry, tokens)
            servers = self._http(intake, telemetry, tokens, state, lambda: upkeep.last.metrics or "")
            if grpc_server is not None:
                await grpc_server.start()
            tasks = [await server.start_serving() for server in servers]
            pulling.start()
            if ready is not None:
                ready(self.ports)
            while not stopped.is_set():
                upkeep.look()
                try:
                    await asyncio.wait_for(stopped.wait(), _LOOK_EVERY_S)
                except TimeoutError:
                    continue
        finally:
            # In this order: nothing new is taken, what was taken is made durable and answered, then all ends.
            self._draining = True
            _log.info("draining")
            if grpc_server is not None:
                await grpc_server.stop(_DRAIN_S)
            for server in servers:
                server.should_exit = True
            await asyncio.gather(*tasks)
            await asyncio.to_thread(pulling.stop)
            await asyncio.to_thread(intake.stop)
            await asyncio.to_thread(upkeep.stop)
            telemetry.close()

    def _grpc(self, intake: Intake, telemetry: Telemetry, tokens: Tokens | None) -> Any:
        address = self._settings.otlp.grpc
        if address is None:
            return None
        try:
            server, self.ports["otlp-grpc"] = otlp_grpc.server(
                address,
                intake,
                telemetry,
                request_bytes=self._settings.limits.request_bytes,
                tls=self._settings.security.tls,
                tokens=tokens,
            )
        except (RuntimeError, OSError) as error:
            raise SourceError(f"{address}: cannot listen ({error}); choose another address") from error
        return server

    def _http(
        self, intake: Intake, telemetry: Telemetry, tokens: Tokens | None, state: Any, derived: Callable[[], str]
    ) -> list[HttpServer]:
        settings, limits = self._settings, self._settings.limits
        door = otlp_http.application(
            intake,
            telemetry,
            request_bytes=limits.request_bytes,
            body_timeout_s=limits.body_timeout_s,
            tokens=tokens,
        )
        wanted = [
            ("otlp-http", settings.otlp.http, door, settings.security.tls),
            ("zipkin", settings.zipkin.listen, door, settings.security.tls),
            ("admin", settings.admin, admin.application(telemetry, state, derived), None),
        ]
        made = []
        for name, address, application, tls in wanted:
            if address is not None:
                server = HttpServer(
                    address,
                    application,
                    tls=tls,
                    header_timeout_s=limits.header_timeout_s,
                    connections=limits.connections,
                )
                self.ports[name] = server.port
                made.append(server)
        return made

    @property
    def is_draining(self) -> bool:
        """Whether it was told to end."""
        return self._draining


class _State:
    """What ``/readyz`` answers."""

    def __init__(self, collector: Collector, intake: Intake, pulling: Pulling, upkeep: UpkeepProcess) -> None:
        self._collector, self._intake, self._pulling, self._upkeep = collector, intake, pulling, upkeep

    def __call__(self) -> tuple[bool, dict[str, Any]]:
        failure = self._intake.failure
        ready = not self._collector.is_draining and failure is None
        return ready, {
            "ready": ready,
            "draining": self._collector.is_draining,
            "store": failure or "ok",
            "doors": self._collector.ports,
            "sources": self._pulling.facts(),
            "upkeep": {"last": self._upkeep.last.outcome, "error": self._upkeep.last.error},
        }


def _prepare(settings: Settings) -> None:
    """Make the store where there is none."""
    store = store_at(settings.store, create=True)
    if isinstance(store, RemoteStore):
        if settings.upkeep.keep_hours is not None or settings.upkeep.keep_bytes is not None:
            raise SourceError(f"{store}: what is kept there is said by the bucket's own rules, not by upkeep")
        return
    store.staging()  # also removes what killed writers left behind


def _privacy(hidden: Hidden) -> Privacy:
    try:
        key = b"" if hidden.key_file is None else hidden.key_file.read_bytes().strip()
    except OSError as error:
        raise SourceError(f"{hidden.key_file}: {error.strerror}; name the file of the key for hashes") from error
    return Privacy(hidden.allow, hidden.deny, hidden.hash, hidden.masks, key)
