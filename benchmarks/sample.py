"""What rolling up one trace in so many costs, and how far its adjusted counts and quantiles are off."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd

from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.rollup import Rollups
from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.window import Window

from .generate import temporary_store

DESCRIPTION = "roll up one trace in 4, 10 and 100: processor time, and the error of counts, error ratios and p95"
_CLASSES = ((100, 1_000), (1_000, 10_000), (10_000, 10**9))


def run(spans: int = 1_000_000) -> dict[str, Any]:
    """Return root mean square errors over edges by their number of calls, and processor seconds a million spans read.

    ``count`` and ``p95`` are relative to the whole, ``error ratio`` is a difference.
    """
    figures: dict[str, Any] = {"spans": spans}
    with temporary_store(spans, late_ratio=0) as store:
        paths, held = store.paths("spans"), store.bounds("spans")
        assert held is not None
        frames: dict[int, pd.DataFrame] = {}
        for sample in (1, 4, 10, 100):
            cpu = time.process_time()
            found = roll_up_segments(paths, sample=sample)
            took = (time.process_time() - cpu) / spans * 1e6
            frames[sample] = _edges(found, held)
            figures[f"one in {sample}"] = {"cpu seconds a million": took}
            if sample > 1:
                figures[f"one in {sample}"] |= _errors(frames[1], frames[sample])
    return figures


def _edges(found: Rollups, held: Window) -> pd.DataFrame:
    return DependencyGraph.of(found, Window(0, held.end_ns)).edges.set_index(["source", "target"])


def _errors(whole: pd.DataFrame, sampled: pd.DataFrame) -> dict[str, Any]:
    both = whole.join(sampled, rsuffix="_sampled", how="left")
    both["adjusted_count_sampled"] = both["adjusted_count_sampled"].fillna(0)
    found = {}
    for low, high in _CLASSES:
        rows = both[(both["count"] >= low) & (both["count"] < high)]
        if rows.empty:
            continue
        found[f"edges of {low:,} calls and more"] = {
            "edges": len(rows),
            "not seen": int((rows["adjusted_count_sampled"] == 0).sum()),
            "count": _rms(rows["adjusted_count_sampled"] / rows["adjusted_count"] - 1),
            "error ratio": _rms(rows["error_ratio_sampled"] - rows["error_ratio"]),
            "p95": _rms(rows["server_p95_s_sampled"] / rows["server_p95_s"] - 1),
        }
    return found


def _rms(errors: pd.Series) -> float:
    return float(np.sqrt((errors.dropna() ** 2).mean()))
