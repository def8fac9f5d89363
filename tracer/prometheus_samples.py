"""Prometheus samples to series and points; the series of a classic histogram or summary become one point a time.

The JSON of such a point has the field names that OTLP metrics use here (`otlp.metrics`): ``count``, ``sum``,
``start_ns``, ``explicit_bounds`` with ``bucket_counts`` (not cumulative), or ``quantiles``, and ``exemplars``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from . import native_histogram
from .batch import Batch, Tally, table_of
from .otlp.any_value import plain_double
from .otlp.attributes import Attributes
from .prometheus_labels import Identity, identity_of, series_id_of
from .schema import POINTS, SERIES

Part = Literal["number", "bucket", "quantile", "sum", "count", "created", "start", "native"]
# A type of the text formats -> kind, temporality and monotonicity of our series.
_KINDS: dict[str, tuple[str, str | None, bool | None]] = {
    "counter": ("sum", "cumulative", True),
    "gauge": ("gauge", None, None),
    "info": ("gauge", None, None),
    "stateset": ("gauge", None, None),
    "histogram": ("histogram", "cumulative", None),
    "gaugehistogram": ("histogram", None, None),
    "native": ("exponential_histogram", "cumulative", None),
    "summary": ("summary", None, None),
}
_VALUE: Final = r"^-?(?:[0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+(?:e[+-]?[0-9]+)?|inf|infinity|nan)$"
_LATEST_S: Final = 2**63 / 10**9
# Parts wait for the end of their family's run; a source that lists series over all time has long ones.
HELD_ROWS: Final = 4_000_000
_COMPOSITE = {"histogram", "gaugehistogram", "summary"}
_PARTS: dict[str, Part] = {
    "_bucket": "bucket",
    "_sum": "sum",
    "_gsum": "sum",
    "_count": "count",
    "_gcount": "count",
    "_created": "created",
}
_SUFFIXES = (*_PARTS, "_total", "_info")


@dataclass(frozen=True, slots=True)
class Column:
    """What a labelled sample is a part of: ``row`` of the series listed, ``bound`` of a bucket or the quantile."""

    family: str
    part: Part
    row: int
    bound: float = math.nan


@dataclass(slots=True)
class SeriesBook:
    """The series seen so far; ``types`` and ``units`` are what the source declares by family."""

    source: str
    types: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    _rows: dict[str, int] = field(default_factory=dict)
    _listed: list[tuple[str, str, Mapping[str, str], Identity]] = field(default_factory=list)
    _given: int = 0

    def column_of(self, name: str, labels: Mapping[str, str]) -> Column:
        """Return what the samples of ``name`` and ``labels`` are a part of, listing its series when it is new."""
        family, suffix = self._family(name, labels)
        kind = self.types.get(family, "unknown")
        if suffix == "_created" and kind == "counter":
            total = family if family.endswith("_total") else f"{family}_total"
            return Column(family, "start", self.row_of(total, kind, labels))
        if kind == "histogram" and not suffix:
            return Column(family, "native", self.row_of(family, "native", labels))
        if kind in _COMPOSITE:
            bound_name = "quantile" if kind == "summary" else "le"
            part: Part = _PARTS.get(suffix, "quantile" if not suffix and kind == "summary" else "number")
            bound = _number(labels.get(bound_name)) if part in ("bucket", "quantile") else math.nan
            if part != "number" and not (part in ("bucket", "quantile") and math.isnan(bound)):
                rest = {key: value for key, value in labels.items() if key != bound_name}
                return Column(family, part, self.row_of(family, kind, rest), bound)
        if kind == "unknown" and name.endswith("_total"):
            kind = "counter"
        return Column(family, "number", self.row_of(name, "unknown" if kind in _COMPOSITE else kind, labels))

    def new_series(self) -> pa.Table:
        """Return the series listed since the last call."""
        listed, self._given = self._listed[self._given :], len(self._listed)
        if not listed:
            return SERIES.empty_table()
        kinds = [_KINDS.get(kind, ("unknown", None, None)) for _, kind, _, _ in listed]
        attributes = Attributes.of([(list(labels), [_json(v) for v in labels.values()]) for _, _, labels, _ in listed])
        columns = {
            "series_id": self.ids[self._given - len(listed) : self._given],
            "name": [name for name, _, _, _ in listed],
            "kind": [kind for kind, _, _ in kinds],
            "unit": [self.units.get(name) or self.units.get(name.removesuffix("_total")) for name, _, _, _ in listed],
            "temporality": [temporality for _, temporality, _ in kinds],
            "monotonic": pa.array([monotonic for _, _, monotonic in kinds], pa.bool_()),
            "attributes": attributes.to_maps(),
            "source": self.source,
        }
        for name in ("service", "pod", "node", "peer"):
            columns[name] = pa.array([getattr(identity, name) for _, _, _, identity in listed], pa.string())
        return table_of(SERIES, columns, len(listed))

    def _family(self, name: str, labels: Mapping[str, str]) -> tuple[str, str]:
        if name.endswith("_created"):
            # Classic text declares creation times as gauges, beside a family that may end in _total.
            base = name.removesuffix("_created")
            for family in (base, f"{base}_total"):
                if self.types.get(family) in ("counter", *_COMPOSITE):
                    return family, "_created"
        if name not in self.types:
            for suffix in _SUFFIXES:
                if name.endswith(suffix) and name.removesuffix(suffix) in self.types:
                    return name.removesuffix(suffix), suffix
            if name.endswith("_bucket") and "le" in labels:
                # Nothing else looks like this: a source without types still yields histograms.
                family = name.removesuffix("_bucket")
                self.types[family] = "histogram"
                return family, "_bucket"
        return name, ""

    def row_of(self, name: str, kind: str, labels: Mapping[str, str]) -> int:
        """Return the row of the series, listing it when it is new; ``kind`` is a type of the text formats."""
        series_id = series_id_of(name, labels)
        if series_id not in self._rows:
            self._rows[series_id] = len(self.ids)
            self.ids.append(series_id)
            self._listed.append((name, kind, labels, identity_of(name, labels)))
        return self._rows[series_id]


def numbers_to_points(book: SeriesBook, frame: pd.DataFrame) -> pa.Table:
    """Return the points of a frame with columns row, time_ns, value and exemplar (JSON of one, or None).

    NaN, which says that a value is unknown, becomes null. A column ``start_ns``, where there is one, is when a counter
    began (None: unknown).
    """
    if frame.empty:
        return POINTS.empty_table()
    starts = frame["start_ns"] if "start_ns" in frame else [None] * len(frame)
    columns = {
        "series_id": pa.array(book.ids, pa.string()).take(pa.array(frame.row.to_numpy())),
        "time_ns": frame.time_ns.to_numpy(),
        "value": frame.value.to_numpy(),
        "histogram": [_aside(start, one) for start, one in zip(starts, frame.exemplar, strict=True)],
    }
    return table_of(POINTS, columns, len(frame))


def _aside(start_ns: int | None, exemplar: str | None) -> str | None:
    """Return the JSON of what a number carries beside its value."""
    parts = [] if start_ns is None else [f'"start_ns":{start_ns}']
    parts += [] if exemplar is None else [f'"exemplars":[{exemplar}]']
    return f"{{{','.join(parts)}}}" if parts else None


def native_to_points(book: SeriesBook, frame: pd.DataFrame, tally: Tally) -> pa.Table:
    """Return the points of native histograms; a frame with columns row, time_ns and text."""
    if frame.empty:
        return POINTS.empty_table()
    texts = {text: native_histogram.to_json(text) for text in set(frame.text)}
    points = [texts[text] for text in frame.text]
    lost = sum(point is None for point in points)
    if lost:
        tally.drop("malformed native histogram", book.source, lost)
    kept = np.array([point is not None for point in points], bool)
    columns = {
        "series_id": pa.array(book.ids, pa.string()).take(pa.array(frame.row.to_numpy()[kept])),
        "time_ns": frame.time_ns.to_numpy()[kept],
        "histogram": [point for point in points if point is not None],
    }
    return table_of(POINTS, columns, int(kept.sum()))


def with_starts(numbers: pd.DataFrame, starts: pd.DataFrame, source: str, tally: Tally) -> pd.DataFrame:
    """Return the numbers with ``start_ns`` from the creation times (seconds) of the same series and scrape; counted."""
    keys = ["row", "time_ns"]
    known = starts[starts["value"].abs() < _LATEST_S].drop_duplicates(keys, keep="last")
    at = pd.Series((known["value"] * 1e6).round() * 1000, dtype="Float64").astype("Int64")
    at.index = pd.MultiIndex.from_frame(known[keys])
    found = at.reindex(pd.MultiIndex.from_frame(numbers[keys])).to_numpy(dtype=object, na_value=None)
    joined = int(at.index.isin(pd.MultiIndex.from_frame(numbers[keys])).sum())
    tally.repair("creation time joined to its counter", joined)
    if len(starts) > joined:
        tally.drop("creation time without its counter", source, len(starts) - joined)
    return numbers.assign(start_ns=pd.Series(found, index=numbers.index, dtype=object))


def parts_to_points(book: SeriesBook, frame: pd.DataFrame, tally: Tally) -> pa.Table:
    """Return a point for each row and time of a frame of parts (also with columns part and bound); the last one counts.

    A histogram without buckets, or whose buckets fall, is dropped.
    """
    if frame.empty:
        return POINTS.empty_table()
    keys = ["row", "time_ns"]
    ordered = frame.drop_duplicates([*keys, "part", "bound"], keep="last").sort_values(
        [*keys, "part", "bound"], kind="stable"
    )
    starts = np.flatnonzero(np.r_[True, (np.diff(ordered[keys].to_numpy(), axis=0) != 0).any(axis=1)][: len(ordered)])
    columns = [ordered[name].tolist() for name in ("part", "bound", "value", "exemplar")]
    rows, times = ordered.row.to_numpy()[starts].tolist(), ordered.time_ns.to_numpy()[starts].tolist()
    found: list[tuple[str, int, str]] = []
    for row, time_ns, start, end in zip(rows, times, starts, np.append(starts, len(ordered))[1:], strict=True):
        point = _point([column[start:end] for column in columns])
        if point is None:
            tally.drop("histogram without whole buckets", f"{book.source}: {book._listed[row][0]}")
        else:
            found.append((book.ids[row], time_ns, point))
    ids, at, texts = zip(*found, strict=True) if found else ((), (), ())
    return table_of(POINTS, {"series_id": ids, "time_ns": at, "histogram": texts}, len(found))


def to_numbers(texts: pa.Array) -> pa.Array:
    """Return texts as numbers, NaN and infinities; null for anything else."""
    plain = pc.replace_substring_regex(pc.utf8_lower(texts), r"^\+", "")
    readable = pc.match_substring_regex(plain, _VALUE)
    return pc.if_else(readable, plain, None).cast(pa.float64())


def no_samples() -> pd.DataFrame:
    """Return an empty frame of samples, with all its columns."""
    kinds = {"family": object, "part": object, "row": "i8", "bound": "f8", "time_ns": "i8", "value": "f8"}
    return pd.DataFrame({name: np.empty(0, kind) for name, kind in {**kinds, "exemplar": object}.items()})


def to_batch(series: pa.Table, points: pa.Table, tally: Tally) -> Batch:
    """Return the batch of both, counted."""
    tally.accepted["series"] += len(series)
    tally.accepted["points"] += len(points)
    return Batch({"series": series, "points": points}, tally)


def _point(columns: list[list[Any]]) -> str | None:
    """Return the JSON of one point from its parts, buckets in the order of their bounds."""
    buckets: list[tuple[float, float]] = []
    quantiles, single, exemplars = [], {}, []
    for part, bound, value, exemplar in zip(*columns, strict=True):
        if exemplar is not None:
            exemplars.append(orjson.Fragment(exemplar))
        if part == "bucket":
            buckets.append((bound, value))
        elif part == "quantile":
            quantiles.append({"quantile": bound, "value": plain_double(value)})
        else:
            single[part] = value
    found: dict[str, object] = {}
    count = buckets[-1][1] if buckets and buckets[-1][0] == math.inf else single.get("count")
    if count is not None and math.isfinite(count):
        found["count"] = _whole(count)
    if "sum" in single:
        found["sum"] = plain_double(single["sum"])
    if abs(single.get("created", math.nan)) < _LATEST_S:
        found["start_ns"] = round(single["created"] * 1e6) * 1000
    if buckets:
        bounds = [bound for bound, _ in buckets if bound != math.inf]
        upto = [value for bound, value in buckets if bound != math.inf]
        upto.append(math.nan if count is None else count)
        # A few buckets a point: plain numbers are quicker than arrays.
        inside = [upper - lower for lower, upper in zip([0.0, *upto], upto, strict=False)]
        if not all(0 <= one < math.inf for one in inside):
            return None
        found["explicit_bounds"] = bounds
        found["bucket_counts"] = [_whole(one) for one in inside]
    if quantiles:
        found["quantiles"] = quantiles
    if exemplars:
        found["exemplars"] = exemplars
    return orjson.dumps(found).decode() if "count" in found or quantiles else None


def _whole(number: float) -> int | float:
    return int(number) if number.is_integer() and abs(number) < 2**63 else number


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _json(text: str) -> str:
    return orjson.dumps(text).decode()
