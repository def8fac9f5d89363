"""Wide CSV of metrics: a time column and one column ``<service>_<metric>`` a series (also the RCAEval layout)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally
from ..schema import POINTS, SERIES

_CLOCKS = ("time", "timestamp", "Time")


def time_to_ns(times: pd.Series, path: Path) -> np.ndarray:
    """Return epoch nanoseconds from RFC 3339 text or from epoch s, ms, us or ns, told apart by magnitude."""
    numbers = pd.to_numeric(times, errors="coerce")
    if numbers.notna().all() and len(numbers):
        unit = next(u for u in (1, 10**3, 10**6, 10**9) if float(numbers.iloc[0]) * u >= 10**17 or u == 10**9)
        return np.asarray((numbers.astype("f8") * unit).round(), dtype="i8")
    parsed = pd.to_datetime(times, utc=True, errors="coerce")
    if parsed.isna().any():
        raise DecodeError(str(path), f"row {int(parsed.isna().to_numpy().argmax()) + 2}", "the time is not a time")
    return np.asarray(parsed.dt.as_unit("ns").astype("int64"))


def points_of(series_id: str, time_ns: np.ndarray, values: pd.Series) -> pa.Table:
    """Return the known points of one series."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype="f8")
    known = np.isfinite(numbers)
    n = int(known.sum())
    arrays = [[series_id] * n, time_ns[known], numbers[known], pa.nulls(n, pa.string())]
    return pa.table([pa.array(a, f.type) for a, f in zip(arrays, POINTS, strict=True)], schema=POINTS)


def read_metrics(path: Path) -> Batch:
    """Return one series a column; the service is the part before the last underscore."""
    from .nezha import table_of

    frame = pd.read_csv(path)
    clock = next((name for name in _CLOCKS if name in frame), None)
    if clock is None:
        raise DecodeError(str(path), "header", f"expected a time column ({', '.join(_CLOCKS)})")
    time_ns = time_to_ns(frame[clock], path)
    tally = Tally()
    rows, points = [], []
    for column in frame.columns:
        service, _, metric = str(column).rpartition("_")
        if column in _CLOCKS or str(column).startswith("time.") or not service:
            if column not in _CLOCKS:
                tally.drop("column without <service>_<metric>", f"{path}: column {column}")
            continue
        rows.append({"series_id": str(column), "name": metric, "service": service})
        points.append(points_of(str(column), time_ns, frame[column]))
    if not rows:
        raise DecodeError(str(path), "header", "no column of the form <service>_<metric>")
    listing = pd.DataFrame(rows)
    columns: dict[str, object] = {name: listing[name] for name in listing}
    columns |= {"kind": ["gauge"] * len(listing), "source": [str(path)] * len(listing)}
    joined = pa.concat_tables(points)
    tally.accepted["points"] += len(joined)
    return Batch({"series": table_of(SERIES, columns, len(listing)), "points": joined}, tally)
