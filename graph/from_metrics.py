"""Edges from metrics alone: the service graphs of Tempo and the Collector, and Istio's requests.

Metrics tell how many calls failed and how long they took, but record no span: both sides' counts stay 0, so that what a
side would know is unknown. Counters give what they grew by from sample to sample, in the step of the later sample; a
counter that fell began anew. The first sample of a series has no predecessor and gives nothing.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.store import Store
from ..tracer.window import MINUTE_NS, Window
from .histogram import bucket
from .rollup import SCHEMAS, STEP_NS, Rollups, empty

# Metric -> what it measures, and nanoseconds per unit. The Collector's own names lack the unit (seconds).
_SERVICE_GRAPH = {
    "traces_service_graph_request": ("count", 0),
    "traces_service_graph_request_failed": ("errors", 0),
    "traces_service_graph_request_server_seconds": ("server_duration", 1e9),
    "traces_service_graph_request_client_seconds": ("client_duration", 1e9),
    "traces_service_graph_request_server": ("server_duration", 1e9),
    "traces_service_graph_request_client": ("client_duration", 1e9),
    "traces_service_graph_request_messaging_system_seconds": ("queue", 1e9),
}
_ISTIO = {"istio_requests": ("count", 0), "istio_request_duration_milliseconds": ("duration", 1e6)}
# What writers call a caller that they do not know.
_OUTSIDE = ("user", "unknown")
# A sample this much before the window still tells what the first one within grew by.
_LOOKBACK_NS = 5 * MINUTE_NS


def read(store: Store, window: Window) -> Rollups:
    """Return the rollups of the edges that metrics of a store tell, in the steps of ``window``."""
    series = store.read("series")
    names = [name for name in pc.unique(series["name"]).to_pylist() if _meaning(name) is not None]
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
    told = _told(series)
    grown = _growth(told, points, window)
    cells: dict[tuple[int, str, str], dict[str, Any]] = {}
    for row in _one_reporter(grown).itertuples():
        step = row.time_ns // STEP_NS * STEP_NS
        cell = cells.setdefault((step, row.caller, row.callee), {"caller_kind": "service", "callee_kind": "service"})
        cell["caller_kind"] = row.caller_kind if row.caller_kind != "service" else cell["caller_kind"]
        cell["callee_kind"] = row.callee_kind if row.callee_kind != "service" else cell["callee_kind"]
        if isinstance(row.growth, dict):
            into = cell.setdefault(row.measure, {})
            for number, count in row.growth.items():
                into[number] = into.get(number, 0) + count
        else:
            cell[row.measure] = cell.get(row.measure, 0) + row.growth
    edges = [_edge(key, cells[key]) for key in sorted(cells) if cells[key].get("count")]
    nothing = empty()
    table = pa.Table.from_pylist(edges, SCHEMAS["edges"])
    return Rollups(table, nothing.operations, nothing.instances, nothing.unlinked)


def _meaning(name: str) -> tuple[str, float] | None:
    family = name.removesuffix("_total")
    return _SERVICE_GRAPH.get(family) or _ISTIO.get(family)


def _told(series: pa.Table) -> pd.DataFrame:
    """Return per series that describes calls: what it measures, of which edge, told by whom."""
    rows = []
    relevant = [_meaning(name) is not None for name in series["name"].to_pylist()]
    columns = ["series_id", "name", "kind", "temporality", "unit", "attributes"]
    for row in series.filter(pa.array(relevant, pa.bool_())).select(columns).to_pylist():
        labels = {key: json.loads(value) for key, value in row["attributes"]}
        measure, unit_ns = _meaning(row["name"]) or ("", 0)
        edge = _istio(labels) if row["name"].startswith("istio_") else _service_graph(labels)
        if edge is None:
            continue
        if measure == "duration":
            measure = "server_duration" if edge["reporter"] == "callee" else "client_duration"
        unit_ns = 1e6 if row["unit"] == "ms" else unit_ns
        rows.append(edge | {"measure": measure, "unit_ns": unit_ns} | {k: row[k] for k in ("series_id", "temporality")})
        if measure == "count" and edge["failed"]:
            rows.append(rows[-1] | {"measure": "errors"})
    names = [
        "series_id",
        "temporality",
        "measure",
        "unit_ns",
        "caller",
        "callee",
        "caller_kind",
        "callee_kind",
        "reporter",
    ]
    return pd.DataFrame(rows, columns=names)


def _service_graph(labels: Mapping[str, Any]) -> dict[str, Any] | None:
    caller, callee = labels.get("client"), labels.get("server")
    if not caller or not callee:
        return None
    virtual = labels.get("virtual_node") if labels.get("connection_type") == "virtual_node" else None
    outside = caller in _OUTSIDE and virtual != "server"
    kind = (
        "database" if labels.get("connection_type") == "database" else "external" if virtual == "server" else "service"
    )
    # A messaging edge names producer and consumer; the broker between them is not told.
    return _ends(caller, callee, outside, kind, "callee", failed=False)


def _istio(labels: Mapping[str, Any]) -> dict[str, Any] | None:
    caller, callee = labels.get("source_workload"), labels.get("destination_workload")
    callee = callee if callee not in (None, "", "unknown") else labels.get("destination_service_name")
    if not caller or not callee or callee == "unknown":
        return None
    status, grpc = str(labels.get("response_code", "")), str(labels.get("grpc_response_status", ""))
    # Code 0: the connection broke before an answer came.
    failed = status.startswith("5") or status == "0" or grpc not in ("", "0")
    reporter = "caller" if labels.get("reporter") == "source" else "callee"
    return _ends(caller, callee, caller in _OUTSIDE, "service", reporter, failed=failed)


def _ends(caller: str, callee: str, outside: bool, kind: str, reporter: str, *, failed: bool) -> dict[str, Any]:
    return {
        "caller": "external" if outside else caller,
        "callee": callee,
        "caller_kind": "external" if outside else "service",
        "callee_kind": kind,
        "reporter": reporter,
        "failed": failed,
    }


def _growth(told: pd.DataFrame, points: pa.Table, window: Window) -> pd.DataFrame:
    """Return what each series grew by at each of its samples in the window: a number, or counts by bucket."""
    samples = points.filter(pc.is_in(points["series_id"], pa.array(told["series_id"], pa.string()))).to_pandas()
    frame = (
        samples.drop_duplicates(["series_id", "time_ns"])
        .merge(told, on="series_id")
        .sort_values(["series_id", "measure", "time_ns"], kind="stable")
    )
    is_duration = frame["unit_ns"].to_numpy() > 0
    parts = [_of_counters(frame[~is_duration]), _of_histograms(frame[is_duration])]
    grown = pd.concat(parts, ignore_index=True)
    return grown[(grown["time_ns"] >= window.start_ns) & (grown["time_ns"] < window.end_ns)]


def _of_counters(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame[frame["value"].notna()]
    before = frame.groupby(["series_id", "measure"])["value"].shift()
    step = np.where(frame["value"] >= before, frame["value"] - before, frame["value"])
    step = np.where(frame["temporality"] == "delta", frame["value"], np.where(before.isna(), 0, step))
    return frame.assign(growth=np.rint(step).astype(np.int64).astype(object))


def _of_histograms(frame: pd.DataFrame) -> pd.DataFrame:
    grown: list[dict[int, int]] = []
    before: tuple[str, list[float] | None] = ("", None)
    for row in frame.itertuples():
        point = json.loads(row.histogram) if isinstance(row.histogram, str) else {}
        counts, bounds = point.get("bucket_counts"), point.get("explicit_bounds", [])
        known = before[1] if before[0] == row.series_id else None
        if counts is None or (known is None and row.temporality != "delta"):
            steps: list[float] = []
        elif row.temporality == "delta" or known is None or len(known) != len(counts) or sum(counts) < sum(known):
            steps = counts
        else:
            steps = [now - then for now, then in zip(counts, known, strict=True)]
        middles = _middles_ns(bounds, row.unit_ns)
        added: dict[int, int] = {}
        for middle_ns, count in zip(middles, steps, strict=False):
            if round(count) > 0:
                added[bucket(middle_ns)] = added.get(bucket(middle_ns), 0) + round(count)
        grown.append(added)
        before = (row.series_id, counts if counts is not None else known)
    return frame.assign(growth=pd.Series(grown, index=frame.index, dtype=object))


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
