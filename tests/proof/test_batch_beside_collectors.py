"""Two collectors and a batch job on one store at the same time: each acknowledged span counts once at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pytest
from collecting import collector
from loading import Clients, trace_numbers

from hypocenter.graph.cache import rollups
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

pytestmark = pytest.mark.timeout(7200)
_FAR = 10**12


def test_every_acknowledged_span_is_counted_once_in_the_rollups_of_the_batch_job(
    tmp_path: Path, scaled: Callable[[int], int]
) -> None:
    seconds, folder = scaled(1800), tmp_path / "store"
    Store(folder, create=True)
    program = str(Path(sys.executable).with_name("hypocenter"))
    command = [program, "batch", "--store", str(folder), "--out", str(tmp_path / "out"), "-o", "json"]
    with (
        collector(folder, upkeep={"every_s": 1}) as first,
        collector(folder, upkeep={"every_s": 1}) as second,
        Clients(2) as one,
        Clients(2, first=_FAR) as other,
    ):
        one.port, other.port = first.ports["otlp-grpc"], second.ports["otlp-grpc"]
        until, passes = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            # A pass while telemetry comes; every other one is killed where it is.
            with (tmp_path / "passes.log").open("ab") as log:
                job = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            try:
                assert job.wait(4 if passes % 2 else 600) in (0, 1)
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGKILL)
                job.wait()
            passes += 1
    assert one.acknowledged and other.acknowledged and one.final == other.final == []
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    store = Store(folder)
    rows, acknowledged = trace_numbers(store), one.acknowledged | other.acknowledged
    assert acknowledged <= set(rows) and store.problems == []
    # Read from what the last pass kept; each trace is one call of two spans.
    edges = rollups(store, Window(0, time.time_ns())).edges
    calls = edges.filter(pc.equal(edges["caller"], "caller"))
    counted = [pc.sum(calls[name]).as_py() for name in ("count", "client_count", "server_count")]
    assert counted == [len(set(rows))] * 3
    print(
        f"\nbatch: {seconds} s, two collectors and {passes} passes; {2 * len(acknowledged)} spans acknowledged, "
        f"{len(rows)} stored, {sum(counted[1:])} counted, 0 lost, 0 double"
    )
