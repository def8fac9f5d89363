"""A writer is killed at random moments: what it acknowledged is there, whole, and readers never fail."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
