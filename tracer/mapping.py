"""Columns of someone else's table named in our words, by a small YAML file.

.. code-block:: yaml

    signal: spans            # spans, logs, or metrics (one sample a row)
    columns:                 # our column: theirs, or theirs with the unit of a time or the names of values
      trace_id: TraceId
      span_id: SpanId
      parent_span_id: ParentId
      service: cmdb_id
      name: operation
      start_ns: {column: timestamp, unit: ms}
      duration_ns: {column: duration, unit: us}
      kind: {column: type, values: {Entry: server, Exit: client}}
    constants: {environment: production}
    attributes: rest         # columns not named become attributes; none (the default) leaves them out
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import SourceError

from .batch import Batch, table_of
from .conform import to_signal
from .delimited import Rows, all_valid, to_float64, to_int64, to_time_ns
from .otlp.attributes import Attributes
from .prometheus_labels import series_id_of
from .raw_tables import read_raw
from .schema import LOGS, POINTS, SERIES, SPANS
from .source import Source

_UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_OWNERS: Final = ("name", "service", "pod", "node", "peer", "unit", "kind")
_SIGNALS: Final = {
    "spans": SPANS.names,
    "logs": LOGS.names,
    "metrics": ["time_ns", "value", *_OWNERS, "attributes"],
}
_KEYS: Final = ("signal", "columns", "constants", "attributes")
_COLUMN_KEYS: Final = ("column", "unit", "values")


@dataclass(frozen=True, slots=True)
class _Column:
    theirs: str
    unit_ns: int | None = None
    values: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class MappedReader:
    """A reader of CSV, Parquet and Arrow whose columns a map names (`read_map`)."""

    signal: str
    columns: Mapping[str, _Column]
    constants: Mapping[str, str]
    keeps_rest: bool
    NAME: str = "mapped"

    def matches(self, head: bytes, file_name: str) -> bool:
        """Tell yes: the user has said so."""
        return True

    def read(self, source: Source) -> Iterator[Batch]:
        """Yield the rows; a column that the map names and the file lacks is null.

        Raises DecodeError for a broken file or a column that cannot become what it is named.
        """
        listed: set[str] = set()
        for rows in read_raw(source):
            named = self._named(rows)
            yield _metrics(named, listed) if self.signal == "metrics" else to_signal(named, self.signal)

    def _named(self, rows: Rows) -> Rows:
        count = len(rows)
        found: dict[str, pa.Array] = {}
        for ours, column in self.columns.items():
            if column.theirs in rows.table.column_names:
                found[ours] = _converted(rows.table.column(column.theirs).combine_chunks(), ours, column)
        for ours, text in self.constants.items():
            given = found.get(ours, pa.nulls(count, pa.string()))
            found[ours] = pc.fill_null(given.cast(pa.string()), text)
        if self.keeps_rest:
            used = {column.theirs for column in self.columns.values()}
            rest = [name for name in rows.table.column_names if name not in used]
            found["attributes"] = _maps(rows.table.select(rest))
        return Rows(rows.source, rows.first, pa.table(found) if found else rows.table.select([]), rows.tally)


def read_map(path: Path) -> MappedReader:
    """Return the reader that a YAML file describes.

    Raises SourceError that names the key and what is accepted, for a map that is wrong.
    """
    import yaml

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(f"{path}: expected a YAML file: {str(error).splitlines()[0]}") from error
    if not isinstance(given, dict) or set(given) - set(_KEYS) or given.get("signal") not in _SIGNALS:
        raise SourceError(f"{path}: expected the keys {', '.join(_KEYS)}, signal one of {', '.join(_SIGNALS)}")
    accepted = _SIGNALS[given["signal"]]
    columns, constants = given.get("columns"), given.get("constants") or {}
    if not isinstance(columns, dict) or not isinstance(constants, dict):
        raise SourceError(f"{path}: expected columns (and constants, if any) to name our columns")
    if unknown := [name for name in (*columns, *constants) if name not in accepted]:
        raise SourceError(f"{path}: {unknown[0]!r} is no column of {given['signal']}; known: {', '.join(accepted)}")
    rest = given.get("attributes", "none")
    if rest not in ("none", "rest"):
        raise SourceError(f"{path}: attributes: expected rest or none, got {rest!r}")
    parsed = {str(ours): _column(path, str(ours), theirs) for ours, theirs in columns.items()}
    return MappedReader(given["signal"], parsed, {key: str(v) for key, v in constants.items()}, rest == "rest")


def _column(path: Path, ours: str, given: Any) -> _Column:
    if isinstance(given, str):
        return _Column(given)
    is_known = isinstance(given, dict) and not set(given) - set(_COLUMN_KEYS) and isinstance(given.get("column"), str)
    if not is_known or given.get("unit", "ns") not in _UNITS or not isinstance(given.get("values") or {}, dict):
        expected = f"a column's name, or column with unit ({', '.join(_UNITS)}) or values (theirs: ours)"
        raise SourceError(f"{path}: {ours}: expected {expected}")
    values = {str(key).lower(): str(value) for key, value in (given.get("values") or {}).items()}
    return _Column(given["column"], _UNITS[given["unit"]] if "unit" in given else None, values or None)


def _converted(array: pa.Array, ours: str, column: _Column) -> pa.Array:
    """Return a column with its values renamed and its unit applied; without a unit the magnitude of a time tells."""
    if column.values is not None:
        texts, ours_named = array.cast(pa.string()), pa.array(list(column.values.values()))
        at = pc.index_in(pc.utf8_lower(texts), pa.array(list(column.values)))
        return pc.coalesce(ours_named.take(at), texts)
    if column.unit_ns is not None:
        return _scaled(array.cast(pa.string()), column.unit_ns)
    if ours in ("start_ns", "time_ns") and not pa.types.is_temporal(array.type):
        return to_time_ns(array.cast(pa.string()))
    return array


def _scaled(text: pa.Array, unit_ns: int) -> pa.Array:
    """Return numbers of a unit as nanoseconds; null beyond 64 bits. Doubles hold today's microseconds exactly."""
    if unit_ns == 1:
        return to_int64(text)
    numbers = to_float64(text).to_numpy(zero_copy_only=False)
    known = np.abs(numbers) < 2**62 // unit_ns
    numbers = np.where(known, numbers, 0.0)
    whole = np.floor(numbers)
    times = whole.astype("i8") * unit_ns + np.round((numbers - whole) * unit_ns).astype("i8")
    return pa.array(times, mask=~known)


def _maps(table: pa.Table) -> pa.Array:
    """Return the cells of each row that are not null as a map of JSON texts."""
    pairs: list[tuple[list[str], list[str]]] = [([], []) for _ in range(table.num_rows)]
    for name in table.column_names:
        for own, value in zip(pairs, table.column(name).to_pylist(), strict=True):
            if value is not None:
                own[0].append(name)
                own[1].append(orjson.dumps(value, default=str).decode())
    return Attributes.of(pairs).to_maps()


def _metrics(rows: Rows, listed: set[str]) -> Batch:
    """Return the samples as points, and the series not yet ``listed``: a series is its name, owner and attributes."""
    import pandas as pd

    value, time_ns = to_float64(rows.text("value").cast(pa.string())), rows.text("time_ns").cast(pa.int64())
    whole = all_valid(value, time_ns, rows.text("name"))
    kept = rows.keep(whole, "sample without a name, a time or a number")
    identity = pd.DataFrame({name: kept.text(name).cast(pa.string()).to_pylist() for name in _OWNERS}, dtype=object)
    maps = kept.table.column("attributes").combine_chunks() if "attributes" in kept.table.column_names else None
    identity["attributes"] = None if maps is None else [orjson.dumps(pairs).decode() for pairs in maps.to_pylist()]
    group = identity.groupby(list(identity.columns), dropna=False, sort=False).ngroup().to_numpy()
    _, first = np.unique(group, return_index=True)
    texts = identity.iloc[first].where(identity.iloc[first].notna(), None)
    ids = [
        series_id_of(row[0], dict(zip(identity.columns[1:], map(str, row[1:]), strict=True)))
        for row in texts.itertuples(index=False)
    ]
    points = {
        "series_id": pa.array(ids, pa.string()).take(pa.array(group)),
        "time_ns": time_ns.filter(whole),
        "value": value.filter(whole),
    }
    new = np.array([series_id not in listed for series_id in ids], bool)
    listed.update(ids)
    at = pa.array(first[new])
    series: dict[str, Any] = {name: kept.text(name).cast(pa.string()).take(at) for name in _OWNERS}
    series["kind"] = pc.fill_null(series["kind"], "gauge")
    series |= {"series_id": pa.array(ids, pa.string()).filter(pa.array(new)), "source": rows.source}
    if maps is not None:
        series["attributes"] = maps.take(at)
    rows.tally.accepted["points"] += len(kept)
    rows.tally.accepted["series"] += len(at)
    tables = {"series": table_of(SERIES, series, len(at)), "points": table_of(POINTS, points, len(kept))}
    return Batch(tables, rows.tally)
