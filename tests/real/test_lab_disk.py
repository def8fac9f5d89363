"""A slow disk is slow: what must reach it waits inside the system call, and nothing else does."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from lab_recording import ROOT

from sample_data.lab.faults.disk import DiskSlow
from sample_data.lab.servers import free_port
from sample_data.postgres import connection_string, start
from sample_data.processes import Processes, working_folder

DELAY_S = 0.25
# The journal of a service, written as its requests write it, each time it is asked.
_JOURNAL = """
import sys, time
from sample_data.lab.service.engine import Engine

engine = Engine("invoice", None, None)
for _ in sys.stdin:
    begun = time.monotonic()
    engine.run([["journal"]], {"user": "u1"})
    print(time.monotonic() - begun, flush=True)
"""


@pytest.fixture
def folder(program: Callable[..., str]) -> Iterator[Path]:
    program("strace")
    with working_folder() as made:
        yield made


@pytest.fixture
def processes(folder: Path) -> Iterator[Processes]:
    made = Processes(folder)
    yield made
    made.stop_all()


def slow(processes: Processes, target: str, pid: int) -> tuple[DiskSlow, Any]:
    """Return the fault, and what it needs of a lab."""
    return DiskSlow(target, {"delay_s": DELAY_S}), SimpleNamespace(
        processes=processes, struck=lambda _fault: SimpleNamespace(pid=pid)
    )


def test_journal_of_a_service_waits_while_the_disk_is_slow(processes: Processes, tmp_path: Path) -> None:
    environment = {"LAB_VOLUME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    service = subprocess.Popen(
        [sys.executable, "-c", _JOURNAL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )

    def write() -> float:
        assert service.stdin is not None
        assert service.stdout is not None
        service.stdin.write("\n")
        service.stdin.flush()
        return float(service.stdout.readline())

    with service:
        before = statistics.median(write() for _ in range(5))
        fault, lab = slow(processes, "invoice", service.pid)
        fault.begin(lab)
        during = [write() for _ in range(3)]
        fault.end(lab)
        after = statistics.median(write() for _ in range(5))
        service.terminate()
    assert min(during) >= DELAY_S
    assert max(before, after) < DELAY_S / 2


def test_database_commits_late_and_reads_as_ever_in_old_and_new_sessions(
    folder: Path, processes: Processes, program: Callable[..., str]
) -> None:
    program("initdb", "postgresql/*/bin/initdb")
    port = free_port()
    server = start(processes, folder, port, schema=ROOT / "sample_data/lab/schema.sql")
    where = connection_string(port)

    def seconds(connection: psycopg.Connection[Any], statement: str) -> float:
        begun = time.monotonic()
        connection.execute(statement)
        return time.monotonic() - begun

    insert, read = "INSERT INTO orders (user_name) VALUES ('u1')", "SELECT count(*) FROM orders"
    with psycopg.connect(where, autocommit=True) as old:
        before = statistics.median(seconds(old, insert) for _ in range(5))
        fault, lab = slow(processes, "store-db", server)
        fault.begin(lab)
        with psycopg.connect(where, autocommit=True) as new:
            during = [seconds(session, insert) for session in (old, new)]
            reading = statistics.median(seconds(session, read) for session in (old, new, old, new, old))
        fault.end(lab)
        after = statistics.median(seconds(old, insert) for _ in range(5))
    assert min(during) >= DELAY_S
    assert max(before, after, reading) < DELAY_S / 2
