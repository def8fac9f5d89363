"""Runs the steps of an endpoint."""

from __future__ import annotations

import contextvars
import json
import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pika
import redis
from psycopg_pool import ConnectionPool

from .hurt import Hurt
from .json_file import JsonFile

log = logging.getLogger("shop")
TIMEOUT_S = 2.0
_JOURNAL_BYTES = 2**20


class PeerError(RuntimeError):
    """A called service failed, refused, or did not answer in time."""


class Breaker:
    """Opens after five failures in a row, and lets one call through again three seconds later."""

    def __init__(self) -> None:
        self._failures, self._until = 0, 0.0

    def check(self) -> None:
        """Raise PeerError while open."""
        if time.monotonic() < self._until:
            raise PeerError("circuit is open")

    def note(self, worked: bool) -> None:
        """Count an outcome."""
        self._failures = 0 if worked else self._failures + 1
        if self._failures >= 5:
            self._until, self._failures = time.monotonic() + 3.0, 4


class Engine:
    """One process's clients and the interpreter of steps."""

    def __init__(self, service: str, config: JsonFile, hurt: Hurt) -> None:
        self.service, self.hurt, self._config = service, hurt, config
        self._peers: dict[str, list[str]] = json.loads(os.environ.get("LAB_PEERS", "{}"))
        self._pool: ConnectionPool | None = None
        self._cache_client: redis.Redis | None = None
        self._channels: dict[str, grpc.Channel] = {}
        self._breaker = Breaker()
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(16)
        # Connections live for a second, so that replicas that come and go are found by name.
        limits = httpx.Limits(max_connections=50, keepalive_expiry=1.0)
        self._client = httpx.Client(limits=limits)
        self._offset_ns = 0

    def config(self, name: str, otherwise: Any) -> Any:
        """Return a value of the mounted configuration."""
        return self._config.value.get(name, otherwise)

    def answer(self, steps: Sequence[Any], values: dict[str, Any]) -> dict[str, Any]:
        """Run an endpoint and return what it answers."""
        self.hurt.enter()
        self.run(steps, values)
        cents = None if self.hurt.wrong() else 100 + len(self.service)
        return {"service": self.service, "cents": cents}

    def run(self, steps: Sequence[Any], values: dict[str, Any]) -> None:
        """Run steps one after another."""
        for step in steps:
            getattr(self, f"_{step[0]}")(values, *step[1:])

    def host(self, service: str) -> str:
        """Return a name to connect to, or one of its addresses where there is no name server."""
        return random.choice(self._peers[service]) if service in self._peers else service

    def take_connections(self, count: int) -> list[Any]:
        """Take connections out of the pool and keep them."""
        return [self._database().getconn(timeout=5) for _ in range(count)]

    def give_connections(self, held: list[Any]) -> None:
        """Give them back."""
        for connection in held:
            self._database().putconn(connection)

    def set_clock(self, offset_s: float) -> None:
        """Set the wall clock of this process's telemetry off."""
        offset_ns = int(offset_s * 1e9)
        if offset_ns != self._offset_ns:
            self._offset_ns = offset_ns
            import opentelemetry.sdk.trace as sdk

            sdk.time_ns = lambda: time.time_ns() + offset_ns  # type: ignore[attr-defined]

    def _work(self, _values: dict[str, Any], ms: float) -> None:
        until = time.thread_time() + random.uniform(0.5, 1.5) * ms / 1000
        while time.thread_time() < until:
            sum(range(200))

    def _log(self, values: dict[str, Any], text: str) -> None:
        log.info(text.format_map(values))

    def _all(self, values: dict[str, Any], steps: Sequence[Any]) -> None:
        running = [self._threads.submit(contextvars.copy_context().run, self.run, [step], values) for step in steps]
        failed = [error for future in running if (error := future.exception())]
        if failed:
            raise failed[0]

    def _http_call(self, values: dict[str, Any], method: str, service: str, path: str, options: dict[str, Any]) -> Any:
        url = f"http://{self.host(service)}:8080{path.format_map(values)}"
        timeout = self.config("timeout_s", options.get("timeout_s", TIMEOUT_S))
        headers = {"Authorization": self.config("credential", "none")} if options.get("breaker") else {}
        try:
            answer = self._client.request(method, url, json=values, timeout=timeout, headers=headers)
        except httpx.HTTPError as error:
            raise PeerError(f"{service} did not answer: {type(error).__name__}") from error
        if answer.status_code >= 400:
            raise PeerError(f"{service} answered {answer.status_code}")
        return answer.json()

    def _http(self, values: dict[str, Any], method: str, service: str, path: str, options: dict[str, Any]) -> None:
        self._try(service, options, lambda: self._http_call(values, method, service, path, options))

    def _grpc(self, values: dict[str, Any], service: str, method: str, options: dict[str, Any]) -> None:
        channel = self._channels.get(service)
        if channel is None:
            # Reconnect soon: the default back-off outlasts an incident.
            waits = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.enable_http_proxy", 0)]
            channel = self._channels[service] = grpc.insecure_channel(f"{self.host(service)}:9090", options=waits)

        def call() -> Any:
            stub = channel.unary_unary(f"/shop.{service.title()}/{method}", _to_bytes, json.loads)
            timeout = self.config("timeout_s", options.get("timeout_s", TIMEOUT_S))
            try:
                return stub(values, timeout=timeout)
            except grpc.RpcError as error:
                raise PeerError(f"{service} answered {error.code().name}") from error

        self._try(service, options, call)

    def _try(self, service: str, options: dict[str, Any], call: Any) -> None:
        """Call with retries and back-off; an optional peer may fail."""
        attempts = 1 + self.config("retries", options.get("retries", 0))
        for attempt in range(attempts):
            try:
                if options.get("breaker"):
                    self._breaker.check()
                answer = call()
                if "expect" in options and not isinstance(answer.get(options["expect"]), int):
                    raise ValueError(f"invalid {options['expect']}: {answer.get(options['expect'])!r}")
                self._breaker.note(True)
                return
            except PeerError as error:
                self._breaker.note(False)
                log.warning("call of %s failed: %s", service, error)
                if attempt + 1 == attempts:
                    if options.get("optional"):
                        return
                    raise
                time.sleep(self.config("backoff_s", 0.05) * 2**attempt * random.uniform(0.5, 1.5))

    def _database(self) -> ConnectionPool:
        if self._pool is None:
            where = (
                f"host={self.host('store-db')} dbname=shop user=shop connect_timeout=3 application_name={self.service}"
            )
            options = {"autocommit": True}
            size = self.config("pool_size", 4)
            self._pool = ConnectionPool(where, kwargs=options, min_size=1, max_size=size, timeout=2.0, open=True)
        return self._pool

    def _sql(self, values: dict[str, Any], statement: str, names: Sequence[str]) -> None:
        with self._database().connection() as connection, connection.cursor() as cursor:
            cursor.execute(statement, [values[name] for name in names])
            if cursor.description:
                cursor.fetchall()

    def _cache(self) -> redis.Redis:
        if self._cache_client is None:
            self._cache_client = redis.Redis(host=self.host("cache"), socket_timeout=1.0, socket_connect_timeout=1.0)
        return self._cache_client

    def _redis(self, values: dict[str, Any], command: str, key: str) -> None:
        self._cache().execute_command(command, key.format_map(values))

    def _cached(self, values: dict[str, Any], key: str, steps: Sequence[Any]) -> None:
        name = key.format_map(values)
        try:
            if self._cache().get(name) is not None:
                return
        except redis.RedisError as error:
            log.warning("cache unavailable: %s", type(error).__name__)
            self.run(steps, values)
            return
        self.run(steps, values)
        self._cache().set(name, "1", ex=20)

    def _publish(self, values: dict[str, Any], queue: str) -> None:
        # A connection a thread: pika's may not be shared.
        channel = getattr(self._local, "channel", None)
        if channel is None or not channel.is_open:
            where = pika.ConnectionParameters(self.host("broker"), heartbeat=0, blocked_connection_timeout=2)
            channel = self._local.channel = pika.BlockingConnection(where).channel()
            bind(channel, queue)
        channel.basic_publish(queue, queue, json.dumps(values).encode())

    def _journal(self, values: dict[str, Any]) -> None:
        path = Path(os.environ["LAB_VOLUME"]) / "journal"
        if path.exists() and path.stat().st_size > _JOURNAL_BYTES:
            path.unlink()
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n" + " " * 4000)
            file.flush()
            os.fsync(file.fileno())


def bind(channel: Any, queue: str) -> None:
    """Declare a queue behind an exchange of its own name: of the default one some clients report no name."""
    channel.exchange_declare(queue)
    channel.queue_declare(queue)
    channel.queue_bind(queue, queue, queue)


def _to_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()
