"""The collector is killed, its client is, the power goes: what was acknowledged stays, each call once."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from collecting import collector
from loading import SPANS, Clients, kill_all, numbered, trace_numbers
from power_cut import image

from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, Window

# Starting a collector takes seconds on a small machine.
pytestmark = pytest.mark.timeout(3600)


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


CLIENT = """
import sys
from collecting import exporter
from loading import numbered
with exporter(int(sys.argv[1])) as export:
    for first in range(int(sys.argv[2]), sys.maxsize, 8 * 500):
        # Several are under way, so that a kill leaves some sent in part.
        calls = [(number, export.future(numbered(number, 500))) for number in range(first, first + 8 * 500, 500)]
        for number, call in calls:
            call.result()
            print(number + 1, flush=True)
"""


def test_killed_clients_leave_whole_requests_or_nothing(tmp_path: Path, scaled: Callable[[int], int]) -> None:
    rounds, draw = scaled(100), random.Random(8)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:2])}
    acknowledged: set[int] = set()
    with collector(tmp_path / "store", upkeep={"every_s": 3600}) as running:
        for number in range(rounds):
            command = [sys.executable, "-c", CLIENT, str(running.ports["otlp-grpc"]), str(number * 10**6)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as client:
                assert client.stdout is not None
                lines = [client.stdout.readline() for _ in range(draw.randint(1, 12))]
                client.kill()
                lines += client.stdout.readlines()
            acknowledged |= {int(line) for line in lines if line.endswith("\n")}
            with socket.create_connection(("127.0.0.1", running.ports["otlp-http"])) as half:
                body = numbered(number * 10**6 + 10**5, 500)
                half.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: h\r\ncontent-type: application/x-protobuf\r\n")
                half.sendall(b"content-length: %d\r\n\r\n" % len(body) + body[: draw.randrange(len(body))])
            assert running.post("/v1/traces", numbered(10**9 + 500 * number, 500)).status == 200
            assert len(trace_numbers(running.store)) % 1000 == 0, "a request is visible in part"
        until = time.monotonic() + 60
        while running.metric("hypocenter_collect_queue_size_bytes") and time.monotonic() < until:
            time.sleep(0.1)
        assert running.metric("hypocenter_collect_queue_size_bytes") == 0
        rows = Counter(trace_numbers(running.store))
        assert running.store.problems == []
    assert acknowledged <= set(rows)
    assert set(rows.values()) == {2}
    assert not any(number % 10**6 >= 10**5 for number in rows if number < 10**9)
    print(f"\ncollect: {rounds} clients killed, {len(acknowledged)} acknowledged requests, 0 lost, 0 in part")


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
