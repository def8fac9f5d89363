"""How much of everything a rate of spans needs, from costs that were measured; what cannot be run here is simulated."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.graph.rollup import empty, merge
from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.window import HOUR_NS

from .generate import temporary_store

DESCRIPTION = "what a rate of spans needs on paper: cores, disks, requests, executors; traces shared out by simulation"

# CPU microseconds a span: `collect`, `store`, `link` and `engines` print them.
RECEIVE_US, COMPACT_US, DUCKDB_US, SPARK_US = 5.0, 3.6, 1.6, 6.4
# CPU seconds that Spark takes for a roll-up of however few spans.
SPARK_S = 9.0
# Bytes a span, fresh and compacted, in the spill of a roll-up, and in a shuffle.
FRESH, COMPACTED, SPILLED, SHUFFLED = 40, 32, 60, 64
# Rows of rollups: bytes of one in the files of an hour, and of its histograms in memory.
ROW_BYTES, ROW_MEMORY = 65, 600
# A machine is used to this share, so that a peak of twice the mean is taken.
_USED = 0.5
_SEGMENT_SPANS, _PARTITION_SPANS = 500_000, 1_500_000
_STEPS = 360
# Counted between this reader and a server of S3, for a segment of half a million spans: its footer once, then two
# readings by ten ranges each; sixteen megabytes are sent in two parts, begun and completed.
_GETS, _PUTS = 1 + 2 * 10, 4
# List prices in USD: of a million requests, of a terabyte and month, of a core and hour.
_PUT_USD, _GET_USD, _TB_USD, _CORE_USD = 5.0, 0.4, 23.0, 0.04
_HOURS_A_MONTH = 730
# An executor of Spark, and its memory: what the JVM and the Python worker of one core held.
_EXECUTOR_CORES, _EXECUTOR_GB = 4, 4 * (1.2 + 1.3)


def run(
    spans_per_s: int = 1_000_000,
    services: int = 10_000,
    edges_a_service: int = 4,
    hours: int = 24,
    simulated_rows: int = 200_000,
) -> dict[str, Any]:
    """Return what ``spans_per_s`` over ``hours`` need; an edge is thought to be busy in every step of 10 s.

    What no run here reaches is simulated: how evenly traces are shared out, and what a driver does with
    ``simulated_rows`` rows of edges, which workers found in two halves.
    """
    an_hour = spans_per_s * 3600
    edges = services * edges_a_service
    rows = edges * _STEPS
    segments = -(-an_hour // _SEGMENT_SPANS)
    puts, gets = _PUTS * segments + 1, _GETS * segments
    spark_cores = (SPARK_S + an_hour * SPARK_US / 1e6) / 3600 / _USED
    executors = math.ceil(spark_cores / _EXECUTOR_CORES)
    cores = spans_per_s * (RECEIVE_US / _USED + COMPACT_US) / 1e6
    kept = an_hour * hours * COMPACTED / 1e12
    return {
        "receiver cores": spans_per_s * RECEIVE_US / 1e6 / _USED,
        "compaction cores": spans_per_s * COMPACT_US / 1e6,
        "MB/s written fresh": spans_per_s * FRESH / 1e6,
        "spans an hour": an_hour,
        "segments an hour, compacted": segments,
        "TB kept": kept,
        "PUT an hour": puts,
        "one machine": {
            "CPU seconds an hour": an_hour * DUCKDB_US / 1e6,
            "hours for an hour, 2 threads": an_hour * DUCKDB_US / 1e6 / 2 / 3600,
            "GB spilled": an_hour * SPILLED / 1e9,
        },
        "Spark": {
            "CPU seconds an hour": SPARK_S + an_hour * SPARK_US / 1e6,
            "cores that keep up": spark_cores,
            "executors of 4 cores": executors,
            "GB of all executors": executors * _EXECUTOR_GB,
            "GB shuffled": an_hour * SHUFFLED / 1e9,
            "partitions": -(-an_hour // _PARTITION_SPANS),
            "GET an hour": gets,
        },
        "rollups": {
            "edge rows an hour": rows,
            "MB an hour": rows * ROW_BYTES / 1e6,
            "GB in the driver": rows * ROW_MEMORY / 1e9,
        },
        "USD a month": {
            "PUT": puts * _HOURS_A_MONTH * _PUT_USD / 1e6,
            "GET": gets * _HOURS_A_MONTH * _GET_USD / 1e6,
            "what is kept": kept * _TB_USD,
            "receivers and compaction": cores * _HOURS_A_MONTH * _CORE_USD,
            "Spark": executors * _EXECUTOR_CORES * _HOURS_A_MONTH * _CORE_USD,
        },
        "simulated": {"largest partition, times the mean": _skew(an_hour), "driver": _driver(simulated_rows)},
    }


def _driver(rows: int) -> dict[str, float]:
    """Return what it takes to add up edges like those of generated spans, repeated under other times."""
    with temporary_store(200_000) as store:
        edges = roll_up_segments(store.paths("spans")).edges
    times = edges["time_ns"]
    copies = [
        edges.set_column(edges.schema.get_field_index("time_ns"), "time_ns", pc.add(times, number * HOUR_NS))
        for number in range(-(-rows // len(edges)))
    ]
    table = pa.concat_tables(copies).cast(edges.schema).slice(0, rows)
    half = replace(empty(), edges=table)
    begun = time.process_time()
    whole = merge([half, half]).edges
    return {
        "rows": len(whole),
        "CPU seconds to add up": time.process_time() - begun,
        "bytes a row": whole.nbytes / len(whole),
    }


def _skew(an_hour: int) -> float:
    """Return the largest partition of whole traces, by draws of sizes with a long tail (mean 20, some 100,000)."""
    random = np.random.default_rng(0)
    traces = int(min(2_000_000, an_hour / 20))
    sizes = np.minimum(random.lognormal(2, 1.3, traces), 100_000)
    partitions = max(1, int(sizes.sum() / _PARTITION_SPANS))
    spans = np.bincount(random.integers(partitions, size=traces), sizes, partitions)
    return float(spans.max() / spans.mean())
