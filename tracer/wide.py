"""Wide CSV, a column a series, melted into points in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .batch import Batch, table_of
from .delimited import MAX_ROWS, Rows, read_rows, to_float64
from .schema import POINTS, SERIES
from .source import Source

# How writers spell a cell that holds nothing.
_NOTHING = r"^(?i:\s*|nan|na|n/a|null|none|-)$"


@dataclass(frozen=True, slots=True)
class Column:
    """The series that a column holds."""

    series_id: str
    name: str
    service: str | None = None
    pod: str | None = None
    peer: str | None = None


def read_wide(
    source: Source,
    header: list[str],
    time_ns: Callable[[Rows], pa.Array],
    columns: Mapping[str, Column],
    first: int = 2,
) -> Iterator[Batch]:
    """Yield the points of ``columns`` (by name in ``header``), gauges all, their series with the first of them.

    A cell that is empty or says so (NaN, NA, null) is unknown and makes no point; any other that is no finite number is
    counted as dropped. A row
    whose ``time_ns`` is null is dropped.
    """
    named = False
    for rows in read_rows(source, header, first, max(1, MAX_ROWS // max(1, len(columns)))):
        clock = time_ns(rows)
        kept = rows.keep(pc.is_valid(clock), "row without a time")
        points = _melt(kept, pc.drop_null(clock), columns)
        kept.tally.accepted["points"] += len(points)
        series = table_of(SERIES, {}, 0) if named else _series(source, columns)
        kept.tally.accepted["series"] += len(series)
        named = True
        yield Batch({"series": series, "points": points}, kept.tally)


def _series(source: Source, columns: Mapping[str, Column]) -> pa.Table:
    fields = {
        field: pa.array([getattr(column, field) for column in columns.values()], pa.string())
        for field in Column.__dataclass_fields__
    }
    return table_of(SERIES, {**fields, "kind": "gauge", "source": source.name}, len(columns))


def _melt(rows: Rows, time_ns: pa.Array, columns: Mapping[str, Column]) -> pa.Table:
    """Return the points series by series, each in the order of the rows."""
    values = []
    for name in columns:
        text = rows.text(name)
        values.append(to_float64(text))
        unread = text.filter(pc.and_(pc.is_null(values[-1]), pc.is_valid(text)))
        if odd := len(unread) - (pc.sum(pc.match_substring_regex(unread, _NOTHING)).as_py() or 0):
            rows.tally.drop("cell that is no finite number", f"{rows.source}: column {name}", odd)
    value = pa.concat_arrays(values) if values else pa.nulls(0, pa.float64())
    ids = pa.array([column.series_id for column in columns.values()], pa.string())
    known = pc.is_valid(value)
    melted = {
        "series_id": ids.take(pa.array(np.repeat(np.arange(len(ids)), len(rows)))).filter(known),
        "time_ns": pa.array(np.tile(time_ns.to_numpy(zero_copy_only=False), len(ids))).filter(known),
        "value": value.filter(known),
    }
    return table_of(POINTS, melted, len(melted["value"]))
