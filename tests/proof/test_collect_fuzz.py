"""Mutated requests over both doors: no crash, no hang, no leak."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from collecting import collector, exporter
from loading import numbered
from mutation import mutated

from hypocenter.tracer.otlp import JSON, PROTOBUF, decode_traces, encode_traces

# Fifty thousand requests take minutes on a small machine.
pytestmark = pytest.mark.timeout(3600)


def test_mutated_requests_crash_hang_and_leak_nothing(tmp_path: Path, scaled: Callable[[int], int]) -> None:
    count = scaled(1_000_000)
    plain = numbered(0, 3)
    text = encode_traces(decode_traces(plain).table("spans"), JSON)
    with collector(tmp_path / "store") as running:
        top = psutil.Process(running.process.pid)
        memory = []
        codes: set[str] = set()

        def send(numbers: range) -> None:
            with exporter(running.ports["otlp-grpc"]) as export:
                for first in range(0, len(numbers), 64):
                    # Many at once, so that a commit holds many.
                    together = numbers[first : first + 64]
                    calls = [export.future(mutated(plain, n), timeout=60) for n in together if n % 10]
                    for number in (n for n in together if n % 10 == 0):
                        body, kind = (text, JSON) if number % 20 else (plain, PROTOBUF)
                        codes.add(str(running.post("/v1/traces", mutated(body, number), kind).status))
                    codes.update(call.code().name for call in calls)

        for part in range(10):
            share = range(part * count // 10, (part + 1) * count // 10)
            threads = [threading.Thread(target=send, args=(share[one::16],)) for one in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            memory.append(sum(one.memory_info().rss for one in [top, *top.children(recursive=True)]))
        assert running.metric("hypocenter_collect_worker_deaths_total") == 0
        assert running.post("/v1/traces", plain).status == 200
    # A connection of too many calls at once refuses some for now (UNAVAILABLE to its client), as a full queue does.
    assert codes <= {"OK", "INVALID_ARGUMENT", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "200", "400", "429", "503"}, codes
    assert {"OK", "INVALID_ARGUMENT", "200", "400"} <= codes
    assert memory[-1] < memory[3] * 1.3 + (64 << 20), memory
    print(f"\ncollect: {count} mutated requests: {sorted(codes)}; memory {[size >> 20 for size in memory]} MiB")
