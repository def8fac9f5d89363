"""Kubernetes objects from the series of kube-state-metrics, for where there is no access to the API server.

Each series says one thing of one object; an object has a version for each time at which one of them changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..schema import OBJECTS
from .kinds import CLUSTER_WIDE
from .rows import MALFORMED, object_row, to_batch
from .state_series import SERIES, Manifest

_SOURCE: Final = "kube-state-metrics"


def to_objects(series: pa.Table, points: pa.Table) -> pa.Table:
    """Return rows of ``objects`` that ``series`` and ``points`` tell of; empty without kube-state-metrics."""
    names = pa.array(list(SERIES))
    wanted = series.filter(pc.is_in(series["name"], names))
    if not wanted.num_rows:
        return OBJECTS.empty_table()
    samples = _changes(points.filter(pc.is_in(points["series_id"], wanted["series_id"].combine_chunks())))
    about = {}
    for row in wanted.select(["series_id", "name", "attributes"]).to_pylist():
        labels = _labels(row["attributes"])
        kind, label, _ = SERIES[row["name"]]
        if name := labels.get(label):
            namespace = None if kind in CLUSTER_WIDE else labels.get("namespace")
            about[row["series_id"]] = (row["name"], labels, (kind, namespace, name))
    rows: list[dict[str, Any]] = []
    samples["object"] = [about[s][2] if s in about else None for s in samples.series_id]
    for key, said in samples.dropna(subset=["object"]).groupby("object", sort=True):
        rows += _versions(key, said, about)
    return to_batch(rows, []).table("objects")


def _labels(attributes: Any) -> dict[str, str]:
    """Return labels as texts; what the scrape of the exporter itself took the place of has its own name back."""
    labels = {key: str(orjson.loads(value)) for key, value in attributes or ()}
    return labels | {k.removeprefix("exported_"): v for k, v in labels.items() if k.startswith("exported_")}


def _changes(points: pa.Table) -> pd.DataFrame:
    """Return the samples of each series that differ from the one before, null where it went stale or absent."""
    frame = points.select(["series_id", "time_ns", "value"]).to_pandas().sort_values(["series_id", "time_ns"])
    same = (frame.series_id == frame.series_id.shift()) & (
        (frame.value == frame.value.shift()) | (frame.value.isna() & frame.value.shift().isna())
    )
    return frame[~same].reset_index(drop=True)


def _versions(key: tuple[str, str | None, str], said: pd.DataFrame, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    kind, namespace, name = key
    values: dict[str, float] = {}
    rows = []
    for time_ns, changed in said.sort_values("time_ns", kind="stable").groupby("time_ns"):
        values |= dict(zip(changed.series_id, changed.value, strict=True))
        manifest: Manifest = {
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {},
            "status": {},
        }
        for series_id in sorted(values):
            value = values[series_id]
            if not np.isnan(value):
                metric, labels, _ = about[series_id]
                SERIES[metric][2](manifest, labels, float(value))
        _finish(manifest)
        try:
            rows.append(object_row(manifest, _SOURCE, int(time_ns)))
        except MALFORMED:
            continue
    return rows


def _finish(manifest: Manifest) -> None:
    for field in ("containerStatuses", "conditions"):
        if isinstance(found := manifest["status"].get(field), dict):
            manifest["status"][field] = [found[name] for name in sorted(found)]
    if isinstance(found := manifest["spec"].get("containers"), dict):
        manifest["spec"]["containers"] = [found[name] for name in sorted(found)]
