"""Rows of a store that stay there until they are asked for: counted, looked at and condensed in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .errors import SourceError
from .graph.queries import connect
from .tracer.schema import SIGNALS

if TYPE_CHECKING:
    import pandas as pd

    from .tracer.store import Store
    from .tracer.window import Window

_SHOWN = 10
_BATCH_ROWS = 65_536
# A frame of more than that is hardly what was meant; `to_frame` takes it when told so.
MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Rows:
    """The rows of a ``signal`` in a window that meet a condition; nothing is read before it is asked for.

    ``where`` is a condition in SQL (DuckDB's) over the signal's columns (`hypocenter.tracer.schema`), such as
    ``service = 'cart' AND duration_ns > 2e8`` or ``attributes['tenant'] = '"a"'``; None is all.

    Raises SourceError for a condition that cannot be read, or names a column that the signal lacks.
    """

    store: Store
    signal: str
    window: Window | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        _ = self._condition_columns

    def __len__(self) -> int:
        return self._count

    def head(self, rows: int = _SHOWN, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the first rows; no more of the store is read than these take."""
        chosen = self._columns(columns)
        found = self.query(f"SELECT {chosen} FROM rows WHERE {self.filtered} LIMIT {int(rows)}", columns)
        return _frame(found)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches of at most 65,536; only one of them is in memory."""
        with connect() as connection:
            connection.register("rows", self._reader(columns))
            text = f"SELECT {self._columns(columns)} FROM rows WHERE {self.filtered}"
            yield from connection.sql(text).to_arrow_reader(_BATCH_ROWS)

    def to_frame(self, columns: Sequence[str] | None = None, most: int = MOST_ROWS) -> pd.DataFrame:
        """Return the rows as a frame; SourceError when there are more than ``most``."""
        if len(self) > most:
            raise SourceError(
                f"{len(self):,} {self.signal} are more than {most:,}; narrow the window, add a condition, take head(), "
                f"batches() or query(), or say to_frame(most={len(self)})"
            )
        return _frame(self.to_arrow(columns))

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows as a table, however many there are."""
        found = list(self.batches(columns))
        return pa.Table.from_batches(found) if found else self._schema(columns).empty_table()

    def query(self, sql: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the answer of a query in SQL over the table ``rows``, in bounded memory.

        Parameters
        ----------
        sql
            ``rows`` are all of the window: a condition belongs in the query, or is `filtered`.
        columns
            The columns that the query needs; None: all, which reads more.
        """
        import duckdb

        with connect() as connection:
            connection.register("rows", self._reader(columns))
            try:
                return connection.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                raise SourceError(f"{self.signal}: {error}") from error

    @property
    def filtered(self) -> str:
        """The condition as SQL, TRUE without one."""
        return "TRUE" if self.where is None else f"({self.where})"

    def __repr__(self) -> str:
        more = f" where {self.where}" if self.where else ""
        return f"<{len(self):,} {self.signal}{more}; {self.window or 'all time'}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self).strip('<>'))}</p>{self.head().to_html(escape=True, border=0)}"

    @cached_property
    def _count(self) -> int:
        if self.where is None and self.window is None:
            return sum(segment.rows for segment in self.store.segments(self.signal))
        found = self.query(f"SELECT count(*) AS n FROM rows WHERE {self.filtered}", [self._narrow])
        return int(found["n"][0].as_py())

    @property
    def _narrow(self) -> str:
        """A column that every row has and that is small."""
        return str(next(f.name for f in SIGNALS[self.signal] if pa.types.is_integer(f.type) and not f.nullable))

    @cached_property
    def _condition_columns(self) -> tuple[str, ...]:
        if self.where is None:
            return ()
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

        try:
            read = sqlglot.parse_one(self.where, dialect="duckdb", into=exp.Condition)
        except SqlglotError as error:
            raise SourceError(f"where={self.where!r}: no condition in SQL: {str(error).splitlines()[0]}") from None
        names = dict.fromkeys(column.parts[0].name for column in read.find_all(exp.Column))
        known = SIGNALS[self.signal].names
        if unknown := [name for name in names if name not in known]:
            raise SourceError(f"where={self.where!r}: {self.signal} have no {unknown[0]}; they have {', '.join(known)}")
        return tuple(names)

    def _schema(self, columns: Sequence[str] | None) -> pa.Schema:
        schema = SIGNALS[self.signal]
        return schema if columns is None else pa.schema([schema.field(name) for name in columns])

    def _columns(self, columns: Sequence[str] | None) -> str:
        return ", ".join(f'"{name}"' for name in self._schema(columns).names)

    def _reader(self, columns: Sequence[str] | None) -> pa.RecordBatchReader:
        wanted = None if columns is None else list(dict.fromkeys([*columns, *self._condition_columns]))
        batches: Any = self.store.scan(self.signal, self.window, wanted)
        return pa.RecordBatchReader.from_batches(self._schema(wanted), batches)


def condition(
    where: str | None = None,
    *,
    service: str | None = None,
    operation: str | None = None,
    error: bool | None = None,
    longer_than_s: float | None = None,
) -> str | None:
    """Return conditions on spans as one in SQL, None without any.

    >>> condition("http_status = 503", service="it's", error=True)
    "(http_status = 503) AND service = 'it''s' AND (status = 2)"
    """
    from .semconv import STATUS_ERROR

    parts = [] if where is None else [f"({where})"]
    for name, value in (("service", service), ("name", operation)):
        if value is not None:
            parts.append(f"{name} = '{value.replace(chr(39), 2 * chr(39))}'")
    if error is not None:
        parts.append(f"(status {'=' if error else '<>'} {STATUS_ERROR})")
    if longer_than_s is not None:
        parts.append(f"duration_ns > {round(longer_than_s * 1e9)}")
    return " AND ".join(parts) or None


def _frame(table: pa.Table) -> pd.DataFrame:
    """Return a frame with times in UTC in place of nanoseconds."""
    import pandas as pd

    frame = table.to_pandas()
    for name in ("start_ns", "time_ns"):
        if name in frame:
            place = frame.columns.get_loc(name)
            times = pd.to_datetime(frame.pop(name), unit="ns", utc=True)
            frame.insert(place, name.removesuffix("_ns"), times)
    return frame
