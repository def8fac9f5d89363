"""Four hours of telemetry as a collector commits it, compacted while it is queried: nothing is missing meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from benchmarks.generate import START_NS, fill
from hypocenter.graph.rollup import SCHEMAS
from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, MINUTE_NS, Window

pytestmark = pytest.mark.timeout(3600)
ROWS = 100
HOURS = 4
COMPACT = (
    "import sys; from hypocenter.cli.main import main; sys.argv = ['hypocenter', 'store', 'compact', {!r}]; main()"
)


def test_compacting_four_hours_while_they_are_queried_misses_nothing_and_makes_queries_faster(
    tmp_path: Path, scaled: Callable[[int], int]
) -> None:
    commits = max(240, scaled(HOURS * 3600))  # one a second
    store = Store(tmp_path / "store", create=True)
    fill(store, commits * ROWS, batch_rows=ROWS, rate_per_s=max(1, commits * ROWS // (HOURS * 3600)))
    window = Window(START_NS + HOUR_NS, START_NS + HOUR_NS + 10 * MINUTE_NS)
    trace = store.read("spans", window, columns=["trace_id"])["trace_id"][0].as_py()

    def asked() -> tuple[dict[str, Any], float]:
        """Return what a new reader finds: all rows, the rollups of ten minutes and one trace; and its seconds."""
        begun, reader = time.perf_counter(), Store(store.path)
        rolled = roll_up_segments(reader.paths("spans", window), window)
        found = {name: getattr(rolled, name).to_pylist() for name in SCHEMAS}
        spans = reader.read("spans", columns=["span_id"], filter=pc.field("trace_id") == trace)
        found |= {"trace": sorted(spans["span_id"].to_pylist()), "problems": reader.problems}
        seconds = time.perf_counter() - begun
        return found | {"rows": sum(segment.rows for segment in reader.segments("spans"))}, seconds

    before, _ = asked()
    before_s = min(asked()[1] for _ in range(3))
    segments = len(store.segments("spans"))
    during_s = []
    with subprocess.Popen([sys.executable, "-c", COMPACT.format(str(store.path))], stdout=subprocess.DEVNULL) as upkeep:
        while upkeep.poll() is None:
            found, seconds = asked()
            assert found == before
            during_s.append(seconds)
    assert upkeep.returncode == 0
    assert asked()[0] == before
    after_s = min(asked()[1] for _ in range(3))
    left = len(store.segments("spans"))
    assert (before["rows"], before["problems"]) == (commits * ROWS, [])
    print(
        f"\nstore: {HOURS} hours in {segments} segments of {ROWS} spans compacted to {left}; a query took "
        f"{before_s:.3f} s before, {max(during_s):.3f} s at most in {len(during_s)} meanwhile, "
        f"{after_s:.3f} s after; 0 missing"
    )
    assert left <= HOURS + 2
    assert after_s < before_s
