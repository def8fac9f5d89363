"""Containers held back by their CPU limit, as cAdvisor counts the periods in which they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_PERIODS, _THROTTLED = "container_cpu_cfs_periods_total", "container_cpu_cfs_throttled_periods_total"
NAMES: Final = frozenset({_PERIODS, _THROTTLED})
_BIN_NS: Final = 60 * 10**9
_LEAST_SHARE: Final = 0.25  # of periods; below it requests hardly feel it


@dataclass(frozen=True, slots=True)
class Throttled:
    """A container that began to be throttled: shares of periods before and since."""

    pod: str
    container: str
    namespace: str | None
    service: str | None
    onset_ns: int
    before: float
    since: float


def throttled(series: pa.Table, points: pa.Table) -> Iterator[Throttled]:
    """Yield the containers that were throttled in a quarter of their periods or more, and less at first."""
    wanted = series.filter(pc.is_in(series["name"], pa.array([_PERIODS, _THROTTLED])))
    if wanted.num_rows < 2:
        return
    about = pd.DataFrame([_about(row) for row in wanted.to_pylist()]).dropna(subset=["pod"])
    of = points.filter(pc.is_in(points["series_id"], wanted["series_id"].combine_chunks()))
    frame = of.select(["series_id", "time_ns", "value"]).to_pandas().merge(about, on="series_id")
    frame = frame.sort_values(["series_id", "time_ns"])
    # A counter that fell was reset.
    frame["grown"] = frame.groupby("series_id").value.diff().clip(lower=0)
    frame["bin"] = frame.time_ns // _BIN_NS
    keys = ["namespace", "pod", "container", "service"]
    for key, rows in frame.groupby(keys, sort=True, dropna=False):
        grown = rows.pivot_table(index="bin", columns="name", values="grown", aggfunc="sum")
        if {_PERIODS, _THROTTLED} - set(grown.columns):
            continue
        grown = grown[grown[_PERIODS] > 0]
        share = (grown[_THROTTLED] / grown[_PERIODS]).to_numpy()
        high = share >= _LEAST_SHARE
        # It must last: one busy minute is no limit that is too low.
        lasting = np.flatnonzero(high[:-1] & high[1:])
        if not len(lasting) or lasting[0] == 0:
            continue
        first = int(lasting[0])
        onset = int(grown.index[first]) * _BIN_NS
        namespace, pod, container, service = (None if pd.isna(part) else str(part) for part in key)
        yield Throttled(
            pod or "",
            container or "",
            namespace,
            service,
            onset,
            float(share[:first].mean()),
            float(share[first:].mean()),
        )


def _about(row: dict[str, object]) -> dict[str, object]:
    pairs: list[tuple[str, str]] = row["attributes"] or []  # type: ignore[assignment]
    labels = {key: orjson.loads(value) for key, value in pairs}
    named = {name: labels.get(name) for name in ("container", "namespace")}
    return {"series_id": row["series_id"], "name": row["name"], "pod": row["pod"], "service": row["service"], **named}
