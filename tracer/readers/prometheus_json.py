"""Answers of Prometheus' query API (``query_range``, ``query``): matrices and vectors, native histograms among them.

The API does not tell types: ``_total`` is taken for a counter, ``_bucket`` with ``le`` for a classic histogram. What a
query computed has no name and is called ``query_result``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
import pandas as pd
import pyarrow as pa

from ..batch import Batch, Tally, table_of
from ..json_items import read_items
from ..otlp.any_value import plain_double
from ..otlp.batches import evened
from ..prometheus_samples import (
    HELD_ROWS,
    SeriesBook,
    no_samples,
    numbers_to_points,
    parts_to_points,
    to_batch,
    to_numbers,
)
from ..schema import POINTS
from ..source import Source

NAME: Final = "prometheus-json"
_UNNAMED: Final = "query_result"
_LAST_S: Final = 2**62 / 10**9


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the keys around the samples."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text[:1] == b"{" and all(key in head for key in (b'"resultType"', b'"result"', b'"status"'))


def read(source: Source) -> Iterator[Batch]:
    """Yield the series and points; a result that is malformed is dropped with its place."""
    return evened(_batches(source))


def _batches(source: Source) -> Iterator[Batch]:
    book = SeriesBook(source.name)
    held: list[pd.DataFrame] = []
    for items in read_items(source, ("data.result",)):
        tally = items.tally
        numbers: list[pd.DataFrame] = []
        histograms: list[tuple[str, int, str]] = []
        for value, place in items:
            for result in _results(value):
                try:
                    frame, native = _samples(book, result)
                except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
                    tally.drop("malformed result", f"{place}: {type(error).__name__}: {str(error)[:100]}")
                    continue
                (numbers if (frame.part == "number").all() else held).append(frame)
                histograms += native
        points = [numbers_to_points(book, pd.concat([no_samples(), *numbers])), _native(histograms)]
        if sum(map(len, held)) > HELD_ROWS:
            points.append(parts_to_points(book, pd.concat(held), tally))
            held = []
        yield to_batch(book.new_series(), pa.concat_tables(points), tally)
    tally = Tally()
    yield to_batch(book.new_series(), parts_to_points(book, pd.concat([no_samples(), *held]), tally), tally)


def _results(value: Any) -> list[Any]:
    """Return the results of a whole answer, or the one result that ``value`` is."""
    if not isinstance(value, dict) or not isinstance(data := value.get("data"), dict):
        return [value]
    results = data.get("result")
    if data.get("resultType") == "scalar":
        return [{"metric": {}, "value": results}]
    return results if isinstance(results, list) else [results]


def _samples(book: SeriesBook, result: Mapping[str, Any]) -> tuple[pd.DataFrame, list[tuple[str, int, str]]]:
    """Return the plain samples, and id, time and JSON of each native histogram."""
    labels = {str(key): str(value) for key, value in result["metric"].items()}
    name = labels.pop("__name__", _UNNAMED)
    pairs = result.get("values") or ([result["value"]] if "value" in result else [])
    native = result.get("histograms") or ([result["histogram"]] if "histogram" in result else [])
    times = [_time_ns(pair[0]) for pair in pairs]
    values = to_numbers(pa.array([str(pair[1]) for pair in pairs], pa.string()))
    if values.null_count:
        raise ValueError("a sample is no number")
    found = [(_time_ns(at), histogram_json(one)) for at, one in native]
    frame = no_samples()
    if pairs or not native:
        column = book.column_of(name, labels)
        frame = pd.DataFrame({"time_ns": times, "value": values.to_numpy(zero_copy_only=False)})
        frame = frame.assign(family=column.family, part=column.part, row=column.row, bound=column.bound, exemplar=None)
    if not native:
        return frame, []
    series_id = book.ids[book.row_of(name, "histogram", labels)]
    return frame, [(series_id, time_ns, text) for time_ns, text in found]


def _time_ns(seconds: Any) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= _LAST_S:
        raise ValueError("a timestamp is seconds since the epoch")
    return round(seconds * 1000) * 10**6  # Prometheus keeps milliseconds


def histogram_json(value: Mapping[str, Any]) -> str:
    """Return a native histogram as one of explicit bounds; between its sparse buckets are empty ones."""
    bounds: list[float] = []
    counts: list[float] = []
    for _, lower, upper, count in sorted(value.get("buckets") or [], key=lambda bucket: float(bucket[1])):
        if not bounds or bounds[-1] != float(lower):
            bounds.append(float(lower))
            counts.append(0)
        bounds.append(float(upper))
        counts.append(_count(count))
    infinite = [place for place, bound in enumerate(bounds) if bound == math.inf]
    if infinite:
        bounds = bounds[: infinite[0]]
    else:
        counts.append(0)
    if not all(math.isfinite(bound) for bound in bounds) or bounds != sorted(set(bounds)):
        raise ValueError("the buckets of a histogram overlap")
    return orjson.dumps(
        {
            "count": _count(value["count"]),
            "sum": plain_double(float(value["sum"])),
            "explicit_bounds": bounds,
            "bucket_counts": counts,
        }
    ).decode()


def _count(text: Any) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError("a count is not negative")
    return int(number) if number.is_integer() else number


def _native(histograms: list[tuple[str, int, str]]) -> pa.Table:
    ids, times, texts = zip(*histograms, strict=True) if histograms else ((), (), ())
    return table_of(POINTS, {"series_id": ids, "time_ns": times, "histogram": texts}, len(histograms))
