"""How much of everything a rate of spans needs, from costs that were measured; what cannot be run here is simulated."""

from __future__ import annotations

from typing import Any

import numpy as np

DESCRIPTION = "what a rate of spans needs on paper: cores, disks, requests, executors; traces shared out by simulation"

# CPU microseconds a span: `collect`, `store`, `link` and `engines` print them.
RECEIVE_US, COMPACT_US, DUCKDB_US, SPARK_US = 8.0, 3.6, 1.6, 2.5
# CPU seconds that Spark takes for a roll-up of however few spans.
SPARK_S = 9.0
# Bytes a span, fresh and compacted, in the spill of a roll-up, and in a shuffle.
FRESH, COMPACTED, SPILLED, SHUFFLED = 40, 32, 60, 64
# Rows of rollups: bytes of one in the files of an hour, and of its histograms in memory.
ROW_BYTES, ROW_MEMORY = 65, 600
# A machine is used to this share, so that a peak of twice the mean is taken.
_USED = 0.5
_SEGMENT_SPANS, _PARTITION_SPANS = 500_000, 400_000
_STEPS = 360
# Two readings of a segment: its footer, and about four ranges of columns in each of four row groups; not measured.
_GETS = 2 * (1 + 4 * 4)


def run(
    spans_per_s: int = 1_000_000, services: int = 10_000, edges_a_service: int = 4, hours: int = 24
) -> dict[str, Any]:
    """Return what ``spans_per_s`` over ``hours`` need; an edge is thought to be busy in every step of 10 s."""
    an_hour = spans_per_s * 3600
    edges = services * edges_a_service
    rows = edges * _STEPS
    return {
        "receiver cores": spans_per_s * RECEIVE_US / 1e6 / _USED,
        "compaction cores": spans_per_s * COMPACT_US / 1e6,
        "MB/s written fresh": spans_per_s * FRESH / 1e6,
        "spans an hour": an_hour,
        "segments an hour, compacted": -(-an_hour // _SEGMENT_SPANS),
        "TB kept": an_hour * hours * COMPACTED / 1e12,
        "PUT an hour": -(-an_hour // _SEGMENT_SPANS) + 1,
        "one machine": {
            "CPU seconds an hour": an_hour * DUCKDB_US / 1e6,
            "hours for an hour, 2 threads": an_hour * DUCKDB_US / 1e6 / 2 / 3600,
            "GB spilled": an_hour * SPILLED / 1e9,
        },
        "Spark": {
            "CPU seconds an hour": SPARK_S + an_hour * SPARK_US / 1e6,
            "cores that keep up": (SPARK_S + an_hour * SPARK_US / 1e6) / 3600 / _USED,
            "GB shuffled": an_hour * SHUFFLED / 1e9,
            "partitions": -(-an_hour // _PARTITION_SPANS),
            "GET an hour": _GETS * -(-an_hour // _SEGMENT_SPANS),
        },
        "rollups": {
            "edge rows an hour": rows,
            "MB an hour": rows * ROW_BYTES / 1e6,
            "GB in the driver": rows * ROW_MEMORY / 1e9,
        },
        "largest partition, times the mean": _skew(an_hour),
    }


def _skew(an_hour: int) -> float:
    """Return the largest partition of whole traces, by draws of sizes with a long tail (mean 20, some 100,000)."""
    random = np.random.default_rng(0)
    traces = int(min(2_000_000, an_hour / 20))
    sizes = np.minimum(random.lognormal(2, 1.3, traces), 100_000)
    partitions = max(1, int(sizes.sum() / _PARTITION_SPANS))
    spans = np.bincount(random.integers(partitions, size=traces), sizes, partitions)
    return float(spans.max() / spans.mean())
