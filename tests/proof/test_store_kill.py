"""Writers and upkeep are killed at random moments: what was acknowledged is there, once, and readers never fail."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hypocenter.tracer.store import Store

ROWS = 100
WRITER = """
import sys
from hypocenter.tracer.store import Store
from store_rows import spans
store = Store(sys.argv[1], create=True)
for number in range(10_000):
    name = f"{sys.argv[2]}-{number:05d}"
    store.append(spans(*range(1_700_000_000_000_000_000 + number, 1_700_000_000_000_000_000 + number + 100)), name=name)
    print(name, flush=True)
"""
ROWS_FOLDER = Path(__file__).parents[1] / "tracer"


def test_killed_writers_lose_nothing_acknowledged_and_show_nothing_partial(
    tmp_path: Path, scaled: Callable[[int], int]
) -> None:
    rounds, draw = scaled(100), random.Random(20)
    folder = tmp_path / "store"
    Store(folder, create=True)
    acknowledged: set[str] = set()
    environment = os.environ | {"PYTHONPATH": str(ROWS_FOLDER)}
    for number in range(rounds):
        command = [sys.executable, "-c", WRITER, str(folder), f"round{number:03d}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
            assert writer.stdout is not None
            for _ in range(draw.randint(1, 40)):
                acknowledged.add(writer.stdout.readline().strip())
                visible = Store(folder).segments("spans")
                assert {segment.rows for segment in visible} == {ROWS}
            writer.kill()
            # What it said between our last look and its end was acknowledged as well.
            acknowledged |= {line for line in writer.stdout.read().split("\n") if line.startswith("round") and line[8:]}
        store = Store(folder)
        names = {segment.name for segment in store.segments("spans")}
        cut = {line for line in acknowledged if len(line) < len("round000-00000")}
        assert acknowledged - cut <= names
    rows = Store(folder).read("spans", columns=["span_id"]).num_rows
    assert rows == ROWS * len(names)
    assert not Store(folder).problems
    print(f"\nstore: {rounds} kills, {len(acknowledged)} acknowledged, {len(names)} visible, 0 lost, 0 partial")


KEPT = 20_000
UPKEEP = f"""
import sys
from hypocenter.tracer.store import Store
from hypocenter.tracer.store.compact import compact
from hypocenter.tracer.store.prune import prune
grace = 30 * 10**9  # longer than a read takes, so that files are deleted and records merged as well
store = Store(sys.argv[1])
while True:
    print("prune", flush=True)
    prune(store, store.bounds("spans").end_ns - {KEPT}, grace_ns=grace)
    print("compact", flush=True)
    compact(store, grace_ns=grace, live=True)
    print("rest", flush=True)
"""
STEADY_WRITER = """
import sys, time
from hypocenter.tracer.store import Store
from store_rows import spans
store = Store(sys.argv[1])
for first in range(0, sys.maxsize, 100):
    store.append(spans(*range(first, first + 100)))
    print(first + 100, flush=True)
    time.sleep(0.005)
"""


def test_killed_upkeep_loses_and_doubles_nothing_while_others_write_and_read(
    tmp_path: Path, scaled: Callable[[int], int]
) -> None:
    rounds, draw = scaled(100), random.Random(30)
    folder = tmp_path / "store"
    Store(folder, create=True)
    killed, reads, acknowledged = Counter[str](), 0, [0]
    with script(STEADY_WRITER, folder) as writer:

        def listen() -> None:
            for line in lines_of(writer):
                acknowledged[0] = int(line)

        listener = threading.Thread(target=listen)
        listener.start()
        while not acknowledged[0]:
            time.sleep(0.01)
        for _ in range(rounds):
            at = draw.choice(["prune", "compact"])
            with script(UPKEEP, folder) as upkeep:
                told = lines_of(upkeep)
                last = next(told)
                for _ in range(draw.randint(0, 4)):
                    check_rows(Store(folder), acknowledged[0])
                    reads += 1
                while last != at:
                    last = next(told)
                time.sleep(draw.uniform(0, 0.01 if at == "prune" else 0.1))
                upkeep.kill()
                killed[[last, *told][-1]] += 1
            check_rows(Store(folder), acknowledged[0])
        writer.kill()
        listener.join()
    rows, segments = acknowledged[0], len(Store(folder).segments("spans"))
    files, records = (len(list((folder / "spans").rglob(pattern))) for pattern in ("*.parquet", "*.json"))
    print(
        f"\nstore: upkeep killed while at {dict(killed)}; {rows} rows acknowledged, of the last {KEPT} 0 lost, "
        f"0 double; {reads + rounds} reads, 0 failed; {segments} segments, {files} files, {records} records"
    )


def script(code: str, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROWS_FOLDER)}
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield the whole lines that a process says until its end."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("\n"):
            yield line.strip()


def check_rows(store: Store, acknowledged: int) -> None:
    """Assert that of the last rows those that were acknowledged are there, and none twice."""
    found, counts = np.unique(store.read("spans", columns=["start_ns"]).column(0).to_numpy(), return_counts=True)
    assert counts.max() == 1
    # Retention goes by what was visible before this read, so by an earlier end.
    first = max(0, int(found.max()) + 1 - KEPT)
    assert np.count_nonzero((found >= first) & (found < acknowledged)) == max(0, acknowledged - first)
    assert store.problems == []
