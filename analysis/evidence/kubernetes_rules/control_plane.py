"""The health of the control plane by its own metrics: API server, etcd, scheduler, controllers and kubelets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_BIN_NS: Final = 30 * 10**9
# A healthy component varies by this factor, and one bad bin is a hiccup.
_FACTOR: Final = 3.0
_LASTS: Final = 2


@dataclass(frozen=True, slots=True)
class Measure:
    """What a metric tells of a component.

    ``reading`` is the mean of a histogram, the rate of a counter, the sum of gauges, or the least of gauges that shall
    be 1. ``floor`` is what is always well; ``only`` keeps the series whose label matches, ``but`` drops them.
    """

    component: str
    reading: Literal["mean", "rate", "level", "least"]
    floor: float
    text: str
    only: tuple[str, str] | None = None
    but: tuple[str, str] | None = None


_LONG: Final = ("verb", "WATCH|CONNECT|WATCHLIST")
MEASURES: Final[tuple[tuple[str, Measure], ...]] = (
    (
        "apiserver_request_duration_seconds",
        Measure("kube-apiserver", "mean", 0.2, "answers in {0:.2f} s, in {1:.2f} s before", but=_LONG),
    ),
    (
        "apiserver_request_total",
        Measure("kube-apiserver", "rate", 0.1, "fails {0:.1f} requests a second, {1:.1f} before", only=("code", "5..")),
    ),
    (
        "apiserver_flowcontrol_rejected_requests_total",
        Measure("kube-apiserver", "rate", 0.1, "turns away {0:.1f} requests a second, {1:.1f} before"),
    ),
    (
        "etcd_disk_wal_fsync_duration_seconds",
        Measure("etcd", "mean", 0.02, "waits {0:.3f} s for its disk, {1:.3f} s before"),
    ),
    (
        "etcd_disk_backend_commit_duration_seconds",
        Measure("etcd", "mean", 0.05, "commits in {0:.3f} s, in {1:.3f} s before"),
    ),
    ("etcd_request_duration_seconds", Measure("etcd", "mean", 0.1, "answers in {0:.2f} s, in {1:.2f} s before")),
    ("etcd_server_has_leader", Measure("etcd", "least", 1.0, "has no leader")),
    (
        "scheduler_pending_pods",
        Measure(
            "kube-scheduler", "level", 5.0, "has {0:.0f} pods waiting, {1:.0f} before", but=("queue", "unschedul.*")
        ),
    ),
    (
        "scheduler_scheduling_attempt_duration_seconds",
        Measure("kube-scheduler", "mean", 0.5, "takes {0:.2f} s for a pod, {1:.2f} s before"),
    ),
    (
        "scheduler_schedule_attempts_total",
        Measure("kube-scheduler", "rate", 0.05, "fails {0:.1f} attempts a second, {1:.1f} before", ("result", "error")),
    ),
    (
        "workqueue_depth",
        Measure(
            "kube-controller-manager",
            "level",
            50.0,
            "has {0:.0f} objects waiting, {1:.0f} before",
            only=("job", ".*controller.manager.*"),
        ),
    ),
    (
        "kubelet_pleg_relist_duration_seconds",
        Measure("kubelet", "mean", 1.0, "takes {0:.1f} s to see its containers, {1:.1f} s before"),
    ),
    (
        "kubelet_runtime_operations_errors_total",
        Measure("kubelet", "rate", 0.1, "fails {0:.1f} operations of its runtime a second, {1:.1f} before"),
    ),
    *(
        ("up", Measure(component, "least", 1.0, "is not reached by what scrapes it", only=("job", pattern)))
        for component, pattern in (
            ("kube-apiserver", "apiserver|kube-?apiserver|kubernetes-apiservers"),
            ("etcd", "(kube-)?etcd"),
            ("kube-scheduler", "kube-scheduler"),
            ("kube-controller-manager", "kube-controller-manager"),
            ("kubelet", "kubelet"),
        )
    ),
)
NAMES: Final = frozenset(name for name, _ in MEASURES)


@dataclass(frozen=True, slots=True)
class Troubled:
    """A component that began to do badly; ``node`` is the kubelet's, None for the others."""

    component: str
    node: str | None
    onset_ns: int
    text: str


def troubled(series: pa.Table, points: pa.Table) -> Iterator[Troubled]:
    """Yield the components that do worse than at first, and worse than is ever well, for a minute or more."""
    wanted = series.filter(pc.is_in(series["name"], pa.array(sorted(NAMES))))
    if not wanted.num_rows:
        return
    of = points.filter(pc.is_in(points["series_id"], wanted["series_id"].combine_chunks()))
    samples = of.select(["series_id", "time_ns", "value", "histogram"]).to_pandas()
    about = pd.DataFrame(
        [_about(row) for row in wanted.select(["series_id", "name", "node", "attributes"]).to_pylist()]
    )
    for name, measure in MEASURES:
        chosen = about[
            [name == each and _fits(measure, labels) for each, labels in zip(about.name, about.labels, strict=True)]
        ]
        if chosen.empty:
            continue
        frame = samples.merge(chosen[["series_id", "node"]], on="series_id").sort_values(["series_id", "time_ns"])
        # Only a kubelet is one of many; of the others any replica counts.
        parts = frame.groupby("node") if measure.component == "kubelet" else [(None, frame)]
        for node, rows in parts:
            if (found := _worse(_bins(rows, measure), measure)) is not None:
                yield Troubled(measure.component, None if node is None else str(node), *found)


def _about(row: dict[str, Any]) -> dict[str, Any]:
    labels = {key: str(orjson.loads(value)) for key, value in row["attributes"] or ()}
    node = row["node"] or labels.get("node") or labels.get("instance", "").rpartition(":")[0]
    return {"series_id": row["series_id"], "name": row["name"], "node": node, "labels": labels}


def _fits(measure: Measure, labels: dict[str, str]) -> bool:
    def holds(rule: tuple[str, str]) -> bool:
        return re.fullmatch(rule[1], labels.get(rule[0], "")) is not None

    return (measure.only is None or holds(measure.only)) and (measure.but is None or not holds(measure.but))


def _bins(rows: pd.DataFrame, measure: Measure) -> pd.Series:
    """Return what the metric reads in each bin of time that it is known in."""
    time = rows.time_ns // _BIN_NS
    if measure.reading == "mean":
        told = [orjson.loads(text) if isinstance(text, str) else {} for text in rows.histogram]
        parts = {
            key: _grown(rows, pd.Series([one.get(key) for one in told], rows.index, float)) for key in ("sum", "count")
        }
        total = pd.DataFrame(parts).groupby(time).sum(min_count=1)
        return (total["sum"] / total["count"].where(total["count"] > 0)).dropna()
    if measure.reading == "rate":
        return _grown(rows, rows.value).groupby(time).sum(min_count=1).dropna() / (_BIN_NS / 1e9)
    by_series = rows.value.groupby([time, rows.series_id]).last().groupby(level=0)
    return (by_series.min() if measure.reading == "least" else by_series.sum(min_count=1)).dropna()


def _grown(rows: pd.DataFrame, values: pd.Series) -> pd.Series:
    """Return the growth of a counter since its last sample; one that fell was reset."""
    return values.groupby(rows.series_id).diff().clip(lower=0)


def _worse(bins: pd.Series, measure: Measure) -> tuple[int, str] | None:
    """Return since when the readings are bad for good, and what to say; None when they are not, or were at first."""
    values = bins.to_numpy(dtype=float)
    for first in range(1, len(values) - _LASTS + 1):
        usual, now = float(np.median(values[:first])), values[first : first + _LASTS]
        if measure.reading == "least":
            bad = usual >= measure.floor and bool((now < measure.floor).all())
        else:
            bad = bool((now > max(measure.floor, _FACTOR * usual)).all())
        if bad:
            return int(bins.index[first]) * _BIN_NS, measure.text.format(float(np.median(values[first:])), usual)
    return None
