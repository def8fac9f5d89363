"""Ranking of one incident from metrics alone, as the number of series grows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa

from hypocenter.analysis.case import Case, Symptom
from hypocenter.analysis.ranker import create
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SERIES

from .measure import measure

DESCRIPTION = "seconds and memory to rank an incident of 1,000 services x 50 metrics, and how they grow with series"
SECOND_NS = 10**9
_START_NS = 1_700_000_000 * SECOND_NS
_STEP_NS, _STEPS = 15 * SECOND_NS, 240
# What exporters of a service report, a rising counter and gauges; the rest are numbered copies of them.
_NAMES = ("cpu_usage_percent", "memory_usage_bytes", "latency_p95_ms", "error_count", "requests_total", "queue_length")


def run(services: int = 1000, metrics: int = 50) -> dict[str, Any]:
    """Return seconds, processor seconds and peak memory at a quarter, half and all of the services.

    Each is the quickest of three processes, since a busy moment would decide one alone.
    """
    figures: dict[str, Any] = {}
    for share in (0.25, 0.5, 1.0):
        n = max(2, int(services * share))
        runs = [measure(rank, services=n, metrics=metrics) for _ in range(3)]
        done = min(runs, key=lambda run: run.result["seconds"])
        figures[f"{n * metrics} series"] = {
            "rank_seconds": done.result["seconds"],
            "rank_cpu_seconds": done.result["cpu_seconds"],
            "peak_rss_bytes": done.peak_rss_bytes,
            "points": done.result["points"],
            "right": done.result["right"],
        }
    half, whole = list(figures.values())[-2:]
    figures["growth_per_doubling"] = whole["rank_seconds"] / half["rank_seconds"]
    return figures


def rank(services: int, metrics: int) -> dict[str, Any]:
    """Rank one generated incident; making it is not timed."""
    case = incident(services, metrics)
    clock, processor = time.perf_counter(), time.process_time()
    ranking = create("hypocenter").rank(case)
    return {
        "seconds": time.perf_counter() - clock,
        "cpu_seconds": time.process_time() - processor,
        "points": case.telemetry.table("points").num_rows,
        "right": ranking.candidates[0].service == f"service-{services // 2:04d}",
    }


def incident(services: int, metrics: int) -> Case:
    """Return an hour of metrics in which, 10 minutes before its end, the service in the middle saturates and slows."""
    random = np.random.default_rng(services * metrics)
    n = services * metrics
    names = [f"{_NAMES[i % len(_NAMES)]}{'' if i < len(_NAMES) else f'_{i}'}" for i in range(metrics)]
    service = np.repeat(np.arange(services), metrics)
    listing = pa.table(
        {
            "series_id": [f"{i:016x}" for i in range(n)],
            "name": names * services,
            "kind": ["gauge"] * n,
            "service": [f"service-{s:04d}" for s in service],
            "source": ["generated"] * n,
        }
    )
    series = pa.table([_column(listing, field) for field in SERIES], schema=SERIES)
    values = np.exp(random.normal(3.0, 0.2, (n, _STEPS)))
    counter = np.tile([name.startswith("requests_total") for name in names], services)
    values[counter] = np.cumsum(values[counter], axis=1)
    bad = service == services // 2
    for at, factor in (("cpu_usage_percent", 4.0), ("latency_p95_ms", 8.0)):
        rows = bad & np.tile([name == at for name in names], services)
        values[rows, _STEPS * 5 // 6 :] *= factor
    ids = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat(np.arange(n, dtype="i4"), _STEPS)), listing["series_id"].combine_chunks()
    )
    points = pa.table(
        {
            "series_id": ids,
            "time_ns": np.tile(_START_NS + np.arange(_STEPS) * _STEP_NS, n),
            "value": values.reshape(-1),
            "histogram": pa.nulls(n * _STEPS, pa.string()),
        }
    )
    return Case(Batch({"series": series, "points": points}), _START_NS + _STEPS * 5 // 6 * _STEP_NS, symptom=Symptom())


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    return table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
