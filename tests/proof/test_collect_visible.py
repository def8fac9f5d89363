"""What was acknowledged is seen by whoever asks next: a graph and a ranking of a lone call, and under full load.

So it is visible no seconds later; how long an answer takes is the machine's, and is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pytest
from collecting import Running, collector
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import hypocenter as hc
from benchmarks.collect_load import send_for, write_requests
from hypocenter.tracer.window import SECOND_NS, Window

pytestmark = pytest.mark.timeout(3600)


def call(callee: str, number: int) -> bytes:
    """Return a request of one call, made now, from a service of its own to ``callee``."""
    made, now = ExportTraceServiceRequest(), time.time_ns()
    for span_id, parent, kind, service in (
        (b"client-1", b"", 3, f"{callee}-caller"),
        (b"server-1", b"client-1", 2, callee),
    ):
        resource = made.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = service
        span = resource.scope_spans.add().spans.add(trace_id=number.to_bytes(16, "big"), span_id=span_id, name="op")
        span.parent_span_id, span.kind = parent, kind
        span.start_time_unix_nano, span.end_time_unix_nano = now, now + 1000
    body: bytes = made.SerializeToString()
    return body


def now_window() -> Window:
    now = time.time_ns()
    return Window(now - 30 * SECOND_NS, now + 10 * SECOND_NS)


def callees(running: Running) -> set[str]:
    """Return who is called in a graph of the last half minute, asked anew, of all spans."""
    return set(hc.open(running.folder).graph(now_window(), sample=1).edges["target"])


def test_lone_calls_are_in_the_graph_and_before_the_ranker_at_once(
    tmp_path: Path, scaled: Callable[[int], int]
) -> None:
    pause_s, found_s = scaled(360), list[float]()  # at full size ten calls an hour
    with collector(tmp_path / "store") as running:
        running.post("/v1/traces", call("warm", 1))
        callees(running)
        for number in range(4):
            time.sleep(pause_s if number else 0)
            begun = time.monotonic()
            assert running.post("/v1/traces", call(f"lone-{number}", number + 2)).status == 200
            assert f"lone-{number}" in callees(running)
            found_s.append(time.monotonic() - begun)
            seen = hc.open(running.folder).rank(since=now_window()).case.telemetry.table("spans")
            assert f"lone-{number}" in seen["service"].to_pylist()
    print(
        f"\ncollect: 4 lone calls, {pause_s} s apart, each in the graph asked next, which came within "
        f"{max(found_s):.2f} s"
    )


def test_calls_under_full_load_are_in_the_store_and_the_graph_at_once(
    tmp_path: Path, scaled: Callable[[int], int]
) -> None:
    seconds = max(15, scaled(120))
    requests = write_requests(tmp_path, 8192, 64 * 8192, start_ns=time.time_ns())
    acknowledged_s, found_s = list[float](), list[float]()
    with collector(tmp_path / "store") as running:
        sent = dict[str, float]()
        ports = [running.ports["otlp-grpc"]]
        load = threading.Thread(target=lambda: sent.update(send_for(str(requests), ports, 8192, 4, seconds)))
        load.start()
        number = 0
        while load.is_alive() and number < 20:
            number += 1
            begun = time.monotonic()
            assert running.post("/v1/traces", call(f"amid-{number}", number)).status == 200
            acknowledged_s.append(time.monotonic() - begun)
            is_it = pc.field("service") == f"amid-{number}"
            assert running.store.read("spans", now_window(), columns=["trace_id"], filter=is_it).num_rows == 1
            found_s.append(time.monotonic() - begun)
            time.sleep(seconds / 20)
        load.join()
        begun = time.monotonic()
        assert f"amid-{number}" in callees(running)
        graph_s = time.monotonic() - begun
    print(
        f"\ncollect: {number} calls amid {sent['spans_per_s']:,.0f} spans/s, acknowledged within "
        f"{max(acknowledged_s):.2f} s, read within {max(found_s):.2f} s; then a graph in {graph_s:.1f} s"
    )
