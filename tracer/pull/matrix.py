"""Parsed answers of Prometheus to points: whole answers at once, without a loop over samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..batch import Tally, table_of
from ..prometheus_labels import series_id_of
from ..prometheus_samples import Column, SeriesBook, parts_to_points, to_numbers
from ..readers.prometheus_json import histogram_json
from ..schema import POINTS

UNNAMED: Final = "query_result"
_MS_NS: Final = 10**6
_LATEST_S: Final = 2**62 / 10**9
Result = Mapping[str, Any]


@dataclass(slots=True)
class Exemplars:
    """Exemplars that wait for the sample that follows them, by the digest of their series' name and labels."""

    waiting: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    _met: set[str] = field(default_factory=set)

    def add(self, results: Iterable[Result], tally: Tally) -> None:
        """Take what ``/api/v1/query_exemplars`` answered."""
        for result in results:
            try:
                labels = {str(key): str(value) for key, value in result["seriesLabels"].items()}
                name = labels.pop("__name__", UNNAMED)
                found = [_exemplar(one) for one in result["exemplars"]]
            except (LookupError, TypeError, ValueError, AttributeError):
                tally.drop("malformed exemplar", "query_exemplars")
                continue
            self.names.add(name)
            held = self.waiting.setdefault(series_id_of(name, labels), [])
            self.waiting[series_id_of(name, labels)] = sorted({*held, *found})

    def of(self, name: str, labels: Mapping[str, str], times: np.ndarray) -> dict[int, str]:
        """Return the exemplars of a series by the place of the sample (ascending ``times``) that follows each."""
        held = self.waiting.get(series_id_of(name, labels)) if name in self.names else None
        if held is None:
            return {}
        places = np.searchsorted(times, [at for at, _ in held]).tolist() if held else []
        self.waiting[series_id_of(name, labels)] = [h for h, p in zip(held, places, strict=True) if p == len(times)]
        self._met.add(series_id_of(name, labels))
        # Of several before one sample the latest says most.
        return {place: text for (_, text), place in zip(held, places, strict=True) if place < len(times)}

    def left(self) -> int:
        """Return how many are of series without samples; one after the last sample belongs to the time after it."""
        return sum(len(held) for key, held in self.waiting.items() if key not in self._met)


@dataclass(frozen=True, slots=True)
class Points:
    """Points of one answer; ``rows`` and ``times`` (``n_points``) say the series' rows in the book and the times."""

    table: pa.Table
    rows: np.ndarray
    times: np.ndarray


def to_points(book: SeriesBook, results: Sequence[Result], exemplars: Exemplars, tally: Tally) -> Points:
    """Return the points of a matrix or a vector; a result that is malformed is dropped and named by its labels.

    NaN is null. The parts of a histogram or a summary must all be in ``results``.
    """
    try:
        answer = _Answer.of(results)
    except _MALFORMED:
        answer = _Answer.of([result for result in results if _is_whole(result, book.source, tally)])
    columns = [
        book.column_of(name, labels) if length else None
        for (name, labels), length in zip(answer.named, answer.lengths.tolist(), strict=True)
    ]
    tables, rows, at = _plain(book, columns, answer, _noted(answer, exemplars), tally)
    native = _native(book, answer, exemplars)
    tables.append(native[0])
    return Points(pa.concat_tables(tables), np.r_[rows, native[1]], np.r_[at, native[2]])


_MALFORMED: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError)


def _is_whole(result: Any, source: str, tally: Tally) -> bool:
    try:
        _Answer.of([result])
    except _MALFORMED as error:
        labels = str(result.get("metric"))[:100] if isinstance(result, dict) else "no object"
        tally.drop("malformed result", f"{source}: {labels}: {type(error).__name__}: {str(error)[:100]}")
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Answer:
    """Name and labels, number of samples and native histograms (times, JSON) of each result, and all samples."""

    named: list[tuple[str, dict[str, str]]]
    lengths: np.ndarray
    times: np.ndarray
    values: np.ndarray
    native: list[tuple[np.ndarray, list[str]]]

    @classmethod
    def of(cls, results: Sequence[Result]) -> _Answer:
        """Return what results say; raises one of `_MALFORMED`."""
        named = [_labels(result) for result in results]
        pairs = [result.get("values") or ([result["value"]] if "value" in result else []) for result in results]
        lengths = np.array([len(one) for one in pairs], np.int64)
        flat = list(chain.from_iterable(chain.from_iterable(pairs)))
        if len(flat) != 2 * int(lengths.sum()):
            raise ValueError("a sample is a time and a value")
        native = []
        for result in results:
            found = result.get("histograms") or ([result["histogram"]] if "histogram" in result else [])
            native.append((_times_ns([at for at, _ in found]), [histogram_json(value) for _, value in found]))
        return cls(named, lengths, _times_ns(flat[0::2]), _values(flat[1::2]), native)


def _labels(result: Result) -> tuple[str, dict[str, str]]:
    labels = {str(key): str(value) for key, value in result["metric"].items()}
    return labels.pop("__name__", UNNAMED), labels


def _times_ns(seconds: Sequence[Any]) -> np.ndarray:
    found = np.array(seconds, dtype=np.float64)
    if not ((found >= 0) & (found <= _LATEST_S)).all():
        raise ValueError("a timestamp is seconds since the epoch")
    whole: np.ndarray = np.rint(found * 1000).astype(np.int64) * _MS_NS  # Prometheus keeps milliseconds
    return whole


def _values(texts: Sequence[Any]) -> np.ndarray:
    array = pa.array(texts, pa.string())
    try:
        numbers = pc.cast(array, pa.float64())
    except pa.ArrowInvalid:  # what Prometheus writes and Arrow does not know, such as +Inf
        numbers = to_numbers(array)
        if numbers.null_count:
            raise ValueError("a sample is no number") from None
    found: np.ndarray = numbers.to_numpy(zero_copy_only=False)
    return found


def _noted(answer: _Answer, exemplars: Exemplars) -> dict[int, str]:
    """Return the exemplars by the place of their sample among all."""
    noted: dict[int, str] = {}
    if exemplars.names:
        ends = np.cumsum(answer.lengths).tolist()
        for (name, labels), start, end in zip(answer.named, [0, *ends], ends, strict=False):
            found = exemplars.of(name, labels, answer.times[start:end]) if end > start else {}
            noted |= {start + place: text for place, text in found.items()}
    return noted


def _plain(
    book: SeriesBook, columns: Sequence[Column | None], answer: _Answer, noted: Mapping[int, str], tally: Tally
) -> tuple[list[pa.Table], np.ndarray, np.ndarray]:
    """Return the points of numbers, and those that parts of histograms and summaries make, with rows and times."""
    lengths, times, values = answer.lengths, answer.times, answer.values
    is_number = np.array([c is not None and c.part == "number" for c in columns], bool)
    is_part = np.array([c is not None and c.part not in ("number", "ignored") for c in columns], bool)
    row_of = np.array([-1 if c is None else c.row for c in columns], np.int64)
    rows = np.repeat(row_of, lengths)
    numbers, parts = np.repeat(is_number, lengths), np.repeat(is_part, lengths)
    ids = pa.array(book.ids, pa.string())
    exemplar = np.full(len(times), None, object)
    for place, text in noted.items():
        exemplar[place] = text
    given: dict[str, object] = {
        "series_id": ids.take(pa.array(rows[numbers])),
        "time_ns": times[numbers],
        "value": values[numbers],
    }
    if noted:
        texts = exemplar[numbers].tolist()
        given["histogram"] = [None if text is None else f'{{"exemplars":[{text}]}}' for text in texts]
    tables = [table_of(POINTS, given, int(numbers.sum()))]
    at = [rows[numbers]]
    when = [times[numbers]]
    if parts.any():
        frame = pd.DataFrame(
            {
                "row": rows[parts],
                "time_ns": times[parts],
                "value": values[parts],
                "part": pd.Categorical(np.repeat([c.part if c else "" for c in columns], lengths)[parts]),
                "bound": np.repeat([c.bound if c else np.nan for c in columns], lengths)[parts],
                "exemplar": pd.Series(exemplar[parts], dtype=object),
            }
        )
        table = parts_to_points(book, frame, tally)
        tables.append(table)
        at.append(_rows_of(book, table))
        when.append(table["time_ns"].to_numpy())
    return tables, np.concatenate(at), np.concatenate(when)


def _rows_of(book: SeriesBook, table: pa.Table) -> np.ndarray:
    found: np.ndarray = pc.index_in(table["series_id"], pa.array(book.ids, pa.string())).to_numpy().astype(np.int64)
    return found


def _native(book: SeriesBook, answer: _Answer, exemplars: Exemplars) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Return the points of native histograms, their rows and times."""
    rows: list[int] = []
    when = [np.empty(0, np.int64)]
    texts: list[str] = []
    for (name, labels), (times, found) in zip(answer.named, answer.native, strict=True):
        if found:
            noted = exemplars.of(name, labels, times)
            rows += [book.row_of(name, "histogram", labels)] * len(found)
            when.append(times)
            texts += [
                f'{text[:-1]},"exemplars":[{noted[place]}]}}' if place in noted else text
                for place, text in enumerate(found)
            ]
    at = np.concatenate(when)
    columns = {"series_id": [book.ids[row] for row in rows], "time_ns": at, "histogram": texts}
    return table_of(POINTS, columns, len(rows)), np.array(rows, np.int64), at


def _exemplar(given: Mapping[str, Any]) -> tuple[int, str]:
    """Return time and JSON of an exemplar, in the field names of OTLP metrics here."""
    labels = {str(key): str(value) for key, value in given["labels"].items()}
    time_ns = int(_times_ns([given["timestamp"]])[0])
    entry: dict[str, object] = {"time_ns": time_ns, "value": float(given["value"])}
    for name, others in (("trace_id", ("trace_id", "traceID", "traceid")), ("span_id", ("span_id", "spanID"))):
        for other in others:
            if other in labels:
                entry.setdefault(name, labels.pop(other))
    if labels:
        entry["attributes"] = labels
    return time_ns, orjson.dumps(entry).decode()
