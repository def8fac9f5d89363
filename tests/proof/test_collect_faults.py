"""The collector under kills, power cuts, overload and nonsense: what was acknowledged stays, and it keeps serving."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from collecting import Running, collector, exporter
from mutation import mutated
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from power_cut import image

from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.otlp import JSON, PROTOBUF, decode_traces, encode_traces
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, Window

SPANS = 20
# Starting a collector, and fifty thousand requests, take minutes on a small machine.
pytestmark = pytest.mark.timeout(3600)
RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}


def numbered(first: int, calls: int = SPANS // 2) -> bytes:
    """Return a request of calls, each a client's and a server's span in a trace of its own, numbered from first."""
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

    def __init__(self, threads: int = 4) -> None:
        self.acknowledged: set[int] = set()
        self.final: list[Any] = []
        self.refused = 0
        self.port: int | None = None
        self.wait_s = 0.05
        self._next = 0
        self._lock = threading.Lock()
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
        while not self._stop.is_set():
            with self._lock:
                first, self._next = self._next, self._next + SPANS // 2
            payload = numbered(first)
            while not self._stop.is_set() and not self._sent(payload):
                self._stop.wait(self.wait_s)
            else:
                continue

    def _sent(self, payload: bytes) -> bool:
        port = self.port
        if port is None:
            return False
        first = int.from_bytes(
            ExportTraceServiceRequest.FromString(payload).resource_spans[0].scope_spans[0].spans[0].trace_id, "big"
        )
        try:
            with exporter(port, options=[("grpc.use_local_subchannel_pool", 1)]) as export:
                while not self._stop.is_set() and port == self.port:
                    export(payload, timeout=30)
                    self.acknowledged.update(range(first, first + SPANS // 2))
                    return True
        except grpc.RpcError as error:
            self.refused += 1
            if error.code() not in RETRYABLE:
                self.final.append(error)
        return False


def trace_numbers(store: Store) -> list[int]:
    return [int(text, 16) for text in store.read("spans", columns=["trace_id"]).column(0).to_pylist()]


def kill_all(running: Running) -> None:
    """Kill the collector with all its processes, as a dying machine does."""
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait()


def test_kills_under_load_lose_and_double_nothing(tmp_path: Path, scaled: Callable[[int], int]) -> None:
    rounds, draw = scaled(100), random.Random(5)
    folder = tmp_path / "store"
    Store(folder, create=True)
    reads = 0
    with Clients() as clients:
        for number in range(rounds):
            # Compaction runs all the time, so that kills hit it as well.
            with collector(folder, upkeep={"every_s": 0.3}) as running:
                clients.port = running.ports["otlp-grpc"]
                begun, until = len(clients.acknowledged), time.monotonic() + draw.uniform(0.2, 3)
                while time.monotonic() < until or len(clients.acknowledged) == begun:
                    read = trace_numbers(Store(folder))
                    assert len(read) % SPANS == 0, "a request is visible in part"
                    reads += 1
                clients.port = None
                kill_all(running)
            store = Store(folder)
            assert clients.acknowledged <= set(trace_numbers(store)), f"lost in round {number}"
            assert store.problems == []
    rows = trace_numbers(Store(folder))
    now = time.time_ns()
    rolled = roll_up_segments(Store(folder).paths("spans"), Window(now - HOUR_NS, now + HOUR_NS))
    calls = sum(
        rolled.edges.filter(rolled.edges.column("caller").to_numpy(zero_copy_only=False) == "caller")[
            "count"
        ].to_pylist()
    )
    assert clients.final == []
    assert calls == len(set(rows))
    assert max(rows.count(number) for number in draw.sample(rows, 20)) >= 2
    print(
        f"\ncollect: {rounds} kills, {len(clients.acknowledged)} acknowledged calls, 0 lost; {len(rows) // 2} stored, "
        f"{calls} linked, 0 double; {reads} reads, 0 failed"
    )


def test_power_cuts_lose_nothing_acknowledged(tmp_path: Path, scaled: Callable[[int], int]) -> None:
    cuts, acknowledged = scaled(60), 0
    for number in range(cuts):
        folder = tmp_path / f"cut{number}"
        folder.mkdir()
        with (
            Clients() as clients,
            collector(folder / "store", odd="power_cut_store", upkeep={"every_s": 3600}) as running,
        ):
            clients.port = running.ports["otlp-grpc"]
            while len(clients.acknowledged) < 20 * (number + 1):
                time.sleep(0.01)
            before = set(clients.acknowledged)
            kill_all(running)
        image(folder / "store", folder / "after")
        store = Store(folder / "after")
        assert before <= set(trace_numbers(store))
        assert store.problems == []
        acknowledged += len(before)
        shutil.rmtree(folder)
    print(f"\ncollect: {cuts} power cuts, {acknowledged} acknowledged calls, 0 lost")


def test_power_cut_drops_what_was_not_synced(tmp_path: Path) -> None:
    """The disk of the proof above is worth something: without fsync it is empty."""
    script = (
        "import os, power_cut, pathlib; root = pathlib.Path('store'); root.mkdir(); power_cut.install(root)\n"
        "(root / 'never').write_bytes(b'1'); f = open(root / 'content', 'wb'); f.write(b'2'); f.flush()\n"
        "d = os.open(root, os.O_RDONLY); os.fsync(d); os.fsync(f.fileno()); (root / 'late').write_bytes(b'3')\n"
        "os.unlink(root / 'never')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "tracer")}
    subprocess.run(["python3", "-c", script], cwd=tmp_path, env=environment, check=True)
    image(tmp_path / "store", tmp_path / "after")
    assert {path.name: path.read_bytes() for path in (tmp_path / "after").iterdir()} == {"never": b"", "content": b"2"}


def test_system_calls_come_in_the_order_that_survives_a_power_cut(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        assert not os.environ.get("CI"), "strace is missing: .ci/system-packages"
        pytest.skip("needs strace: apt-get install strace")
    with collector(tmp_path / "store", bounds={"workers": 1}) as running:
        running.post("/v1/traces", numbered(0))  # makes the folders
        log = tmp_path / "calls"
        traced = "trace=openat,write,fsync,rename,sendto,sendmsg"
        command = [strace, "-f", "-y", "-s", "40", "-e", traced, "-o", str(log), "-p", str(running.process.pid)]
        children = [str(child.pid) for child in psutil.Process(running.process.pid).children(recursive=True)]
        command += [word for child in children for word in ("-p", child)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            for _ in range(1 + len(children)):
                tracer.stderr.readline()
            assert running.post("/v1/traces", numbered(100)).status == 200
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()
    steps = {
        "write": r"write\(\d+<[^>]*/store/tmp/[^>]*\.spans\.parquet>",
        "fsync": r"fsync\(\d+<[^>]*/store/tmp/[^>]*\.spans\.parquet>",
        "rename": r"rename\(\"[^\"]*/store/tmp/[^\"]*\.spans\.parquet\", \"[^\"]*/store/spans/date=",
        "fsync of the folder": r"fsync\(\d+<[^>]*/store/spans/date=[^>]*/hour=\d\d>",
        "answer": r"send(?:to|msg)\(.*HTTP/1.1 200",
    }
    lines = log.read_text().splitlines()
    found = {
        name: [place for place, line in enumerate(lines) if re.search(pattern, line)] for name, pattern in steps.items()
    }
    assert all(found.values()), found
    assert found["write"][-1] < found["fsync"][0] < found["rename"][0]
    assert found["rename"][-1] < found["fsync of the folder"][0] < found["answer"][0]


def test_ten_times_the_load_is_refused_within_bounded_memory(tmp_path: Path, scaled: Callable[[int], int]) -> None:
    seconds = max(10, scaled(180))
    (tmp_path / "delay").write_text("0.5")
    peak = 0
    # Two workers that take half a second each: ten times as many requests as they can take are under way.
    bounds = {"queue_requests": 8, "group_bytes": 1 << 16}
    with collector(tmp_path / "store", odd="slow_store", bounds=bounds) as running, Clients(40) as clients:
        clients.wait_s = 0.2
        clients.port = running.ports["otlp-grpc"]
        top = psutil.Process(running.process.pid)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            peak = max(peak, sum(one.memory_info().rss for one in [top, *top.children(recursive=True)]))
            time.sleep(0.2)
        stored = running.metric("hypocenter_collect_accepted_total")
        refused = clients.refused
        (tmp_path / "delay").write_text("0")
        clients.port = None
        begun = time.monotonic()
        while True:
            answer = running.post("/v1/traces", numbered(10**9))
            if answer.status == 200:
                break
            assert answer.status == 429
            assert time.monotonic() - begun < 10
        recovered_s = time.monotonic() - begun
    assert clients.acknowledged <= set(trace_numbers(Store(tmp_path / "store")))
    assert clients.final == []
    assert refused > 2 * stored
    assert peak < 10**9
    print(
        f"\ncollect: overload for {seconds} s: {stored:.0f} requests taken, {refused} refused, peak {peak >> 20} MiB, "
        f"again served after {recovered_s:.2f} s"
    )


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
    # A full queue refuses for now, which loses nothing.
    assert codes <= {"OK", "INVALID_ARGUMENT", "UNAVAILABLE", "200", "400", "503"}, codes
    assert memory[-1] < memory[3] * 1.3 + (64 << 20), memory
    print(f"\ncollect: {count} mutated requests: {sorted(codes)}; memory {[size >> 20 for size in memory]} MiB")
