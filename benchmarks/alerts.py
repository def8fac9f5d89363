"""Many alerts over a stored day ranked as one job."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypocenter.batch.alerts import Alert, rank_alerts
from hypocenter.graph.engine import open_engine
from hypocenter.tracer.store import Store

from .generate import temporary_store

DESCRIPTION = "rank a thousand alerts, spread over a stored day, as one job"
_DAY_S = 24 * 3600


def run(alerts: int = 1_000, spans: int = 864_000, engine: str = "duckdb", master: str | None = None) -> dict[str, Any]:
    """Return what it takes to rank ``alerts`` over a day of ``spans`` generated spans of 20 services.

    The engine of this machine works in a process for each core; with ``--engine spark --master URL`` the processor time
    of the workers is not in the figures.
    """
    rate = max(1, spans // _DAY_S)
    with temporary_store(spans, rate_per_s=rate, services=20) as store, TemporaryDirectory() as out:
        held = store.bounds("spans")
        assert held is not None
        step = (held.end_ns - held.start_ns) // (alerts + 1)
        asked = [Alert(held.start_ns + (n + 1) * step) for n in range(alerts)]
        clock, cpu = time.perf_counter(), _cpu_s()
        with open_engine(engine, master, processes=os.cpu_count() or 1) as at_work:
            found = rank_alerts(Store(store.path), Path(out), asked, at_work, progress=_say)
        took = {"seconds": time.perf_counter() - clock, "cpu seconds": _cpu_s() - cpu}
    return {
        "alerts": len(found),
        "hours": (held.end_ns - held.start_ns) / 3.6e12,
        **took,
        "cpu seconds a ranking": took["cpu seconds"] / alerts,
        "peak MB of a process": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1000,
        "outcomes": found["outcome"].value_counts().to_dict(),
    }


def _say(done: int, of: int, _: str) -> None:
    print(f"{done:,} of {of:,} ranked", file=sys.stderr)


def _cpu_s() -> float:
    """Return the processor time of this process and of those that it started and that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
