"""Tables of any types to the tables of one signal, column by column by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from hypocenter.errors import DecodeError

from .batch import Batch, table_of
from .delimited import Rows, all_valid, to_float64, to_int64, to_time_ns
from .raw_tables import read_raw
from .schema import ATTRIBUTES, LINKS, SIGNALS
from .source import Source
from .span_rows import KINDS

# What tells a signal apart: the columns that only it has and cannot do without.
KEYS: Final[dict[str, tuple[str, ...]]] = {
    "spans": ("trace_id", "span_id", "start_ns", "duration_ns"),
    "points": ("series_id", "time_ns", "value"),
    "series": ("series_id", "name", "kind"),
    "logs": ("time_ns", "body"),
    "objects": ("kind", "uid", "name", "valid_from_ns"),
    "events": ("time_ns", "kind", "reason"),
}
# What stands in for a required column that is absent or null: only where an unknown has a value of its own.
_UNKNOWN: Final[dict[str, dict[str, Any]]] = {
    "spans": {"name": "", "kind": 0, "status": 0, "duration_ns": 0, "adjusted_milli": 1000},
    "series": {"kind": "unknown"},
    "logs": {"severity": 0, "body": ""},
}
_STATUS: Final = {"unset": 0, "ok": 1, "error": 2}
_SEVERITY: Final = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "warning": 13, "error": 17, "fatal": 21}
_NUMBERS: Final = {
    "kind": {"unspecified": 0, **KINDS},
    "status": {**_STATUS, **{f"status_code_{name}": number for name, number in _STATUS.items()}},
    "severity": _SEVERITY,
}
_NUMBERS["kind"] |= {f"span_kind_{name}": number for name, number in _NUMBERS["kind"].items()}


def signal_of(names: Collection[str]) -> str | None:
    """Return the signal whose key columns are among ``names``, None when no signal's are."""
    return next((signal for signal, keys in KEYS.items() if set(keys) <= set(names)), None)


def to_signal(rows: Rows, signal: str) -> Batch:
    """Return the rows as the table of ``signal``; columns that it lacks are left out.

    A row without one of the required columns is dropped; a missing duration is counted as repaired. Raises DecodeError
    for a column of a type that cannot become what the schema says.
    """
    schema, count = SIGNALS[signal], len(rows)
    columns: dict[str, pa.Array] = {}
    for declared in schema:
        if declared.name in rows.table.column_names:
            given = rows.table.column(declared.name).combine_chunks()
            columns[declared.name] = _converted(given, declared, rows.source)
    if "source" in schema.names:
        columns["source"] = pc.fill_null(columns.get("source", pa.nulls(count, pa.string())), rows.source)
    if signal == "spans":
        absent = columns.get("duration_ns", pa.nulls(count, pa.int64())).null_count
        rows.tally.repair("duration missing", absent)
        negative = pc.fill_null(pc.less(columns.get("duration_ns", pa.nulls(count, pa.int64())), 0), False)
        rows.tally.repair("end before start", pc.sum(negative).as_py() or 0)
        if negative.true_count:
            columns["duration_ns"] = pc.if_else(negative, 0, columns["duration_ns"])
    for name, unknown in _UNKNOWN.get(signal, {}).items():
        scalar = pa.scalar(unknown, schema.field(name).type)
        columns[name] = pc.fill_null(columns[name], scalar) if name in columns else pa.repeat(scalar, count)
    required = [f.name for f in schema if not f.nullable]
    whole = all_valid(*(columns.get(name, pa.nulls(count)) for name in required))
    rows.keep(whole, f"row of {signal} without {', '.join(n for n in required if n not in _UNKNOWN.get(signal, {}))}")
    table = table_of(
        schema, {name: column.filter(whole) for name, column in columns.items()}, pc.sum(whole).as_py() or 0
    )
    rows.tally.accepted[signal] += table.num_rows
    return Batch({signal: table}, rows.tally)


def _converted(given: pa.Array, declared: pa.Field, source: str) -> pa.Array:
    if pt.is_dictionary(given.type):
        given = given.dictionary_decode()
    try:
        return _converter(given.type, declared)(given)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        reason = f"{given.type} cannot become {declared.type}: {str(error).splitlines()[0][:100]}"
        raise DecodeError(source, f"column {declared.name}", reason) from error


def _converter(given: pa.DataType, declared: pa.Field) -> Callable[[pa.Array], pa.Array]:
    """Return the function from the given type to the declared one; text of JSON becomes maps and links."""
    name, kind = declared.name, declared.type
    if given.equals(kind) or pt.is_null(given):
        return lambda array: array.cast(kind)
    is_text = pt.is_string(given) or pt.is_large_string(given)
    if kind == ATTRIBUTES:
        return _maps_of_text if is_text else _maps_of_objects if pt.is_struct(given) else lambda a: a.cast(kind)
    if kind == LINKS:
        return _links_of_text if is_text else lambda array: array.cast(kind)
    if name.endswith("_ns") and not pt.is_integer(given):
        return _durations if name == "duration_ns" else _times
    if is_text:
        if name in _NUMBERS and pt.is_integer(kind):
            return lambda array: _named(array.cast(pa.string()), _NUMBERS[name], kind)
        if pt.is_integer(kind):
            return lambda array: to_int64(array.cast(pa.string())).cast(kind)
        if pt.is_floating(kind):
            return lambda array: to_float64(array.cast(pa.string()))
    return lambda array: array.cast(kind)


def _named(texts: pa.Array, numbers: dict[str, int], kind: pa.DataType) -> pa.Array:
    names = pc.utf8_lower(texts)
    found = pc.take(pa.array(list(numbers.values()), kind), pc.index_in(names, pa.array(list(numbers))))
    plain = to_int64(texts)
    within = pc.and_(pc.greater_equal(plain, 0), pc.less_equal(plain, 24))
    return pc.coalesce(found, pc.if_else(within, plain, None).cast(kind))


def _times(array: pa.Array) -> pa.Array:
    if pt.is_timestamp(array.type) or pt.is_date(array.type):
        return array.cast(pa.timestamp("ns")).cast(pa.int64())
    return to_time_ns(array.cast(pa.string()))


def _durations(array: pa.Array) -> pa.Array:
    if pt.is_duration(array.type):
        return array.cast(pa.duration("ns")).cast(pa.int64())
    return to_int64(array.cast(pa.string()))


def _maps_of_text(array: pa.Array) -> pa.Array:
    return _maps([None if text is None else orjson.loads(text) for text in array.to_pylist()])


def _maps_of_objects(array: pa.Array) -> pa.Array:
    return _maps([o and {key: value for key, value in o.items() if value is not None} for o in array.to_pylist()])


def _maps(objects: list[Any]) -> pa.Array:
    if not all(one is None or isinstance(one, dict) for one in objects):
        raise ValueError("expected JSON objects")
    pairs = [
        None if o is None else [(key, orjson.dumps(v, default=str).decode()) for key, v in o.items()] for o in objects
    ]
    return pa.array(pairs, ATTRIBUTES)


def _links_of_text(array: pa.Array) -> pa.Array:
    return pa.array([None if text is None else orjson.loads(text) for text in array.to_pylist()], LINKS)


def read_table(source: Source) -> Iterator[Batch]:
    """Yield the rows of a Parquet, Arrow or CSV file of our own schemas.

    Raises DecodeError for a broken file, or one whose columns are of no signal.
    """
    for rows in read_raw(source):
        signal = signal_of(rows.table.column_names)
        if signal is None:
            expected = "; ".join(f"{name}: {', '.join(keys)}" for name, keys in KEYS.items())
            raise DecodeError(source.name, "columns", f"of no signal ({expected}); --map names what they hold")
        yield to_signal(rows, signal)
