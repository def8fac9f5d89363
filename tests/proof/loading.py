"""Clients that send numbered calls to a collector and note which of them were acknowledged."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from typing import Any

import grpc
from collecting import Running, exporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hypocenter.tracer.store import Store

SPANS = 20
RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}


def numbered(first: int, calls: int = SPANS // 2) -> bytes:
    """Return a request of calls, each a client's and a server's span in a trace of its own, numbered after first."""
    made = ExportTraceServiceRequest()
    now = time.time_ns()
    for service, kind in (("caller", 3), ("callee", 2)):
        resource = made.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = service
        spans = resource.scope_spans.add().spans
        for number in range(first, first + calls):
            trace = (number + 1).to_bytes(16, "big")
            span = spans.add(trace_id=trace, span_id=kind.to_bytes(8, "big"), name="work", kind=kind)
            span.start_time_unix_nano, span.end_time_unix_nano = now, now + 1000
            if kind == 2:
                span.parent_span_id = (3).to_bytes(8, "big")
    body: bytes = made.SerializeToString()
    return body


class Clients:
    """Threads that send numbered requests and note which were acknowledged; a failed one is sent again, the same."""

    def __init__(self, threads: int = 4, first: int = 0) -> None:
        self.acknowledged: set[int] = set()
        self.final: list[Any] = []
        self.refused = 0
        self.port: int | None = None
        self.wait_s = 0.05
        self._numbers = itertools.count(first, SPANS // 2)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        first = next(self._numbers)
        while not self._stop.is_set():
            port = self.port
            if port is None:
                self._stop.wait(self.wait_s)
                continue
            with exporter(port, options=[("grpc.use_local_subchannel_pool", 1)]) as export:
                while port == self.port and not self._stop.is_set():
                    if self._sent(export, first):
                        first = next(self._numbers)
                    else:
                        self._stop.wait(self.wait_s)

    def _sent(self, export: Any, first: int) -> bool:
        try:
            export(numbered(first), timeout=30)
        except grpc.RpcError as error:
            self.refused += 1
            if error.code() not in RETRYABLE:
                self.final.append(error)
            return False
        self.acknowledged.update(range(first + 1, first + 1 + SPANS // 2))
        return True


def trace_numbers(store: Store) -> list[int]:
    return [int(text, 16) for text in store.read("spans", columns=["trace_id"]).column(0).to_pylist()]


def kill_all(running: Running) -> None:
    """Kill the collector with all its processes, as a dying machine does."""
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait()
