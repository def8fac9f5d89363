"""Edges from metrics alone: the service graphs of Tempo and the Collector, Istio's requests, and span metrics.

Metrics tell how many calls failed and how long they took, but record no span: both sides' counts stay 0, so that what a
side would know is unknown. Counters give what they grew by from sample to sample, in the step of the later sample; a
counter that fell, or that says that it was created since, began anew. The first sample of a series has no predecessor
and gives nothing, unless the series was created shortly before.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.store import Store
from ..tracer.window import MINUTE_NS, Window
from .histogram import bucket
from .rollup import SCHEMAS, STEP_NS, Rollups, empty
from .told_edges import meaning, told_edges
from .told_match import CONSUMER, match

# A sample this much before the window still tells what the first one within grew by.
_LOOKBACK_NS = 5 * MINUTE_NS


def read(store: Store, window: Window) -> Rollups:
    """Return the rollups of the edges that metrics of a store tell, in the steps of ``window``."""
    series = store.read("series")
    names = [name for name in pc.unique(series["name"]).to_pylist() if meaning(name) is not None]
    if not names:
        return empty()
    series = series.filter(pc.is_in(series["name"], pa.array(names)))
    around = Window(window.start_ns - _LOOKBACK_NS, window.end_ns)
    points = store.read("points", around, filter=pc.field("series_id").isin(series["series_id"].combine_chunks()))
    return roll_up_metrics(series, points, window)


def roll_up_metrics(series: pa.Table, points: pa.Table, window: Window) -> Rollups:
    """Return the rollups of the edges that ``series`` and ``points`` (`hypocenter.tracer.schema`) tell.

    Only growth that ends in ``window`` counts. Istio's calls are taken from the callee's proxy, else from the caller's.
    A duration stands in the middle (geometric) of its bucket of the metric, so quantiles are as coarse as those.
    """
    grown = _growth(told_edges(series), points, window)
    of_spans = grown["of_spans"].to_numpy(dtype=bool)
    graphs, spans = (_edges(grown[chosen]) for chosen in (~of_spans, of_spans))
    return replace(empty(), edges=match(graphs, spans, {}).beside(graphs))


def _edges(grown: pd.DataFrame) -> pa.Table:
    """Return the rows of edges that series of one sort tell."""
    cells: dict[tuple[int, str, str, bool], dict[str, Any]] = {}
    for row in _one_reporter(grown).itertuples():
        key = (row.time_ns // STEP_NS * STEP_NS, row.caller, row.callee, row.callee_kind == CONSUMER)
        cell = cells.setdefault(key, {"caller_kind": "service", "callee_kind": "service"})
        cell["caller_kind"] = row.caller_kind if row.caller_kind != "service" else cell["caller_kind"]
        cell["callee_kind"] = row.callee_kind if row.callee_kind != "service" else cell["callee_kind"]
        if isinstance(row.growth, dict):
            into = cell.setdefault(row.measure, {})
            for number, count in row.growth.items():
                into[number] = into.get(number, 0) + count
        else:
            cell[row.measure] = cell.get(row.measure, 0) + row.growth
    edges = [_edge(key[:3], cells[key]) for key in sorted(cells) if cells[key].get("count")]
    return pa.Table.from_pylist(edges, SCHEMAS["edges"])


def _growth(told: pd.DataFrame, points: pa.Table, window: Window) -> pd.DataFrame:
    """Return what each series grew by at each of its samples in the window: a number, or counts by bucket."""
    samples = points.filter(pc.is_in(points["series_id"], pa.array(told["series_id"], pa.string()))).to_pandas()
    frame = (
        samples.drop_duplicates(["series_id", "time_ns"])
        .merge(told, on="series_id")
        .sort_values(["series_id", "measure", "time_ns"], kind="stable")
    )
    is_duration = frame["unit_ns"].to_numpy() > 0
    parts = [_of_counters(frame[~is_duration], window), _of_histograms(frame[is_duration], window)]
    grown = pd.concat(parts, ignore_index=True)
    return grown[(grown["time_ns"] >= window.start_ns) & (grown["time_ns"] < window.end_ns)]


def _of_counters(frame: pd.DataFrame, window: Window) -> pd.DataFrame:
    frame = frame[frame["value"].notna()]
    grouped = frame.groupby(["series_id", "measure"])
    before, value = grouped["value"].shift(), frame["value"]
    start = [json.loads(text).get("start_ns") if isinstance(text, str) else None for text in frame["histogram"]]
    started = pd.Series(start, index=frame.index, dtype=float)
    last = grouped["time_ns"].shift().fillna(window.start_ns - _LOOKBACK_NS)
    is_new = (started >= last) | (value < before)
    step = value.where(is_new, (value - before).fillna(0))
    return frame.assign(
        growth=np.rint(np.where(frame["temporality"] == "delta", value, step)).astype(int).astype(object)
    )


def _of_histograms(frame: pd.DataFrame, window: Window) -> pd.DataFrame:
    grown: list[dict[int, int]] = []
    series_id, known, last = "", None, 0
    for row in frame.itertuples():
        point = json.loads(row.histogram) if isinstance(row.histogram, str) else {}
        if row.series_id != series_id:
            series_id, known, last = row.series_id, None, window.start_ns - _LOOKBACK_NS
        counts = _by_middle(point, row.unit_ns)
        added: dict[int, float] = {}
        if counts is not None:
            is_new = point.get("start_ns", 0) >= last or (
                known is not None and sum(counts.values()) < sum(known.values())
            )
            if row.temporality == "delta" or is_new:
                added = counts
            elif known is not None:
                added = {middle: count - known.get(middle, 0) for middle, count in counts.items()}
            known, last = counts, row.time_ns
        steps: dict[int, int] = {}
        for middle, count in added.items():
            if round(count) > 0:
                steps[bucket(middle)] = steps.get(bucket(middle), 0) + round(count)
        grown.append(steps)
    return frame.assign(growth=pd.Series(grown, index=frame.index, dtype=object))


def _by_middle(point: Mapping[str, Any], unit_ns: float) -> dict[int, float] | None:
    """Return the counts of a histogram by the middle of its buckets in nanoseconds, None where it has none."""
    counts = point.get("bucket_counts")
    if counts is not None:
        return dict(zip(_middles_ns(point.get("explicit_bounds", []), unit_ns), counts, strict=False))
    if "scale" not in point:
        return None
    base, positive = 2.0 ** -point["scale"], point.get("positive") or {}
    found = {0: float(point.get("zero_count", 0))}
    for place, count in enumerate(positive.get("bucket_counts", ())):
        # Beyond a century nothing was measured.
        exponent = min((positive["offset"] + place + 0.5) * base, 60.0)
        found[round(2.0**exponent * unit_ns)] = count
    return found


def _middles_ns(bounds: list[float], unit_ns: float) -> list[int]:
    """Return the geometric middle of each bucket; half the first bound, and the last one for what lies above."""
    if not bounds:
        return []
    inner = [(low * high) ** 0.5 for low, high in itertools.pairwise(bounds)]
    return [max(0, round(value * unit_ns)) for value in (bounds[0] / 2, *inner, bounds[-1])]


def _one_reporter(grown: pd.DataFrame) -> pd.DataFrame:
    """Return counts as the callee's proxy tells them where it does, else as the caller's; durations as both do."""
    by_callee = grown[(grown["reporter"] == "callee") & (grown["measure"] == "count")]
    told = set(zip(by_callee["caller"], by_callee["callee"], strict=True))
    is_second = [
        reporter == "caller" and measure in ("count", "errors") and (caller, callee) in told
        for reporter, measure, caller, callee in zip(
            grown["reporter"], grown["measure"], grown["caller"], grown["callee"], strict=True
        )
    ]
    return grown[~np.array(is_second, dtype=bool)]


def _edge(key: tuple[int, str, str], cell: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SCHEMAS["edges"].names, 0)
    row |= dict(zip(("time_ns", "caller", "callee"), key, strict=True))
    for name in ("client_duration", "server_duration", "gap", "queue"):
        row[name] = [{"bucket": b, "count": c} for b, c in sorted(cell.get(name, {}).items())]
    row |= {name: cell[name] for name in ("caller_kind", "callee_kind", "count")}
    return row | {"errors": cell.get("errors", 0), "adjusted_milli": cell["count"] * 1000}
