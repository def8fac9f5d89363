"""ExportMetricsServiceRequest to the series and points tables.

A histogram, exponential histogram or summary is one point whose JSON has the field names of OTLP: ``count``, ``sum``,
``min``, ``max``, ``start_ns``, and ``explicit_bounds`` with ``bucket_counts``; or ``scale``, ``zero_count``,
``zero_threshold``, ``positive`` and ``negative`` (``offset``, ``bucket_counts``); or ``quantiles``. Exemplars are
``{"time_ns", "value", "trace_id", "span_id", "attributes"}`` in ``exemplars``; numbers too keep theirs in that
column. What was absent stays absent. Not kept: descriptions, metadata, the start time of numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import orjson
import pyarrow as pa

from hypocenter.semconv import RESOURCE_ATTRIBUTES

from ..batch import Tally
from ..schema import POINTS, SERIES
from .any_value import pairs_of, plain_double
from .attributes import Attributes
from .size import RepeatedBytes

_LAST_TIME_NS: Final = 2**63 - 1
_TEMPORALITY: Final = {1: "delta", 2: "cumulative"}
_NO_RECORDED_VALUE: Final = 1  # the flag of a point that only marks its series as stale
_NO_IDS: Final = (b"", bytes(8), bytes(16))


def decode(requests: Iterable[Any], source: str, tally: Tally) -> dict[str, pa.Table]:
    """Return the tables ``series`` and ``points`` of request messages, or of views of OTLP/JSON requests."""
    series: dict[str, tuple[Any, ...]] = {}  # by series id
    attributes: dict[str, dict[str, str]] = {}
    points: list[tuple[Any, ...]] = []
    size = RepeatedBytes()
    for request in requests:
        for resource_metrics in request.resource_metrics:
            pairs = pairs_of(resource_metrics.resource.attributes)
            size.of(pairs)
            resource = _unique(pairs, tally)
            for scope_metrics in resource_metrics.scope_metrics:
                scope = scope_metrics.scope
                scope_identity = [scope.name, scope.version, sorted(_unique(pairs_of(scope.attributes), tally).items())]
                for metric in scope_metrics.metrics:
                    kind = metric.WhichOneof("data")
                    if kind is None:
                        tally.drop("metric of an unknown kind or without data", f"{source}: {metric.name[:100]}")
                        continue
                    data = getattr(metric, kind)
                    temporality = _TEMPORALITY.get(getattr(data, "aggregation_temporality", 0))
                    monotonic = data.is_monotonic if kind == "sum" else None
                    identity = (metric.name, kind, metric.unit or None, temporality, monotonic)
                    head = orjson.dumps([identity, sorted(resource.items()), scope_identity])
                    for point in data.data_points:
                        time_ns = point.time_unix_nano
                        if not 0 < time_ns <= _LAST_TIME_NS:
                            reason = (
                                "data point with a time after the year 2262" if time_ns else "data point without a time"
                            )
                            tally.drop(reason, f"{source}: {metric.name[:100]}")
                            continue
                        own = _unique(pairs_of(point.attributes), tally)
                        series_id = _digest(head, own)
                        if series_id not in series:
                            size.repeat()
                            series[series_id] = identity
                            attributes[series_id] = resource | own
                        points.append((series_id, time_ns, _value(kind, point), _json(kind, point)))
    return _tables(series, attributes, points, source, tally)


def _tables(
    series: dict[str, tuple[Any, ...]],
    attributes: dict[str, dict[str, str]],
    points: list[tuple[Any, ...]],
    source: str,
    tally: Tally,
) -> dict[str, pa.Table]:
    flat = Attributes.of([(list(own), list(own.values())) for own in attributes.values()])
    names, kinds, units, temporalities, monotonic = zip(*series.values(), strict=True) if series else ((),) * 5
    columns: dict[str, pa.Array] = {name: flat.pick(RESOURCE_ATTRIBUTES[name]) for name in ("service", "pod", "node")}
    tally.repair("service.name missing", columns["service"].null_count)
    columns |= {
        "series_id": pa.array(series, pa.string()),
        "name": pa.array(names, pa.string()),
        "kind": pa.array(kinds, pa.string()),
        "unit": pa.array(units, pa.string()),
        "temporality": pa.array(temporalities, pa.string()),
        "monotonic": pa.array(monotonic, pa.bool_()),
        "peer": pa.nulls(len(series), pa.string()),
        "attributes": flat.to_maps(),
        "source": pa.repeat(pa.scalar(source), len(series)),
    }
    tally.accepted["series"] += len(series)
    tally.accepted["points"] += len(points)
    samples = zip(*points, strict=True) if points else ((),) * len(POINTS)
    return {
        "series": pa.Table.from_arrays([columns[name] for name in SERIES.names], schema=SERIES),
        "points": pa.Table.from_arrays(
            [pa.array(column, field.type) for column, field in zip(samples, POINTS, strict=True)], schema=POINTS
        ),
    }


def _unique(pairs: tuple[list[str], list[str]], tally: Tally) -> dict[str, str]:
    """Return attributes with each key once, the last one kept."""
    found = dict(zip(*pairs, strict=True))
    tally.repair("attribute key repeated", len(pairs[0]) - len(found))
    return found


def _digest(head: bytes, own: dict[str, str]) -> str:
    """Return the identity of a series: equal in every process, whatever the order of the attributes."""
    return hashlib.blake2b(head + orjson.dumps(sorted(own.items())), digest_size=16).hexdigest()


def _value(kind: str, point: Any) -> float | None:
    if kind not in ("gauge", "sum") or point.flags & _NO_RECORDED_VALUE:
        return None
    given = point.WhichOneof("value")
    return None if given is None else float(getattr(point, given))


def _json(kind: str, point: Any) -> str | None:
    if kind in ("gauge", "sum"):
        return orjson.dumps({"exemplars": _exemplars(point)}).decode() if point.exemplars else None
    if point.flags & _NO_RECORDED_VALUE:
        return None
    found: dict[str, object] = {"count": point.count}
    if kind == "summary":
        found["sum"] = plain_double(point.sum)
    else:
        found |= {name: plain_double(getattr(point, name)) for name in ("sum", "min", "max") if point.HasField(name)}
    if point.start_time_unix_nano:
        found["start_ns"] = point.start_time_unix_nano
    if kind == "histogram":
        found["explicit_bounds"] = [plain_double(bound) for bound in point.explicit_bounds]
        found["bucket_counts"] = list(point.bucket_counts)
    elif kind == "exponential_histogram":
        found |= {"scale": point.scale, "zero_count": point.zero_count}
        found["zero_threshold"] = plain_double(point.zero_threshold)
        for name in ("positive", "negative"):
            buckets = getattr(point, name)
            found[name] = {"offset": buckets.offset, "bucket_counts": list(buckets.bucket_counts)}
    else:
        found["quantiles"] = [
            {"quantile": plain_double(at.quantile), "value": plain_double(at.value)} for at in point.quantile_values
        ]
    if kind != "summary" and point.exemplars:
        found["exemplars"] = _exemplars(point)
    return orjson.dumps(found).decode()


def _exemplars(point: Any) -> list[dict[str, object]]:
    found = []
    for exemplar in point.exemplars:
        given = exemplar.WhichOneof("value")
        number = None if given is None else getattr(exemplar, given)
        entry: dict[str, object] = {"time_ns": exemplar.time_unix_nano}
        entry["value"] = plain_double(number) if isinstance(number, float) else number
        entry |= {
            name: getattr(exemplar, name).hex()
            for name in ("trace_id", "span_id")
            if getattr(exemplar, name) not in _NO_IDS
        }
        keys, texts = pairs_of(exemplar.filtered_attributes)
        if keys:
            entry["attributes"] = {key: orjson.Fragment(text) for key, text in zip(keys, texts, strict=True)}
        found.append(entry)
    return found
