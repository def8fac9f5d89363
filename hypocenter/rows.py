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
    import plotly.graph_objects as go
    import pyarrow.compute as pc
    from sqlglot import exp

    from .tracer.store import Store
    from .tracer.window import Window

_SHOWN, _STEPS = 10, 60
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
        return _frame(self.query(f"FROM rows LIMIT {int(rows)}", columns, matching=True))

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches of at most 65,536; only one of them is in memory."""
        with connect() as connection:
            connection.register("every", self._reader(columns, self._pushed_down))
            yield from connection.sql(f"{self._matching(columns)} FROM rows").to_arrow_reader(_BATCH_ROWS)

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

    def query(self, sql: str, columns: Sequence[str] | None = None, *, matching: bool = False) -> pa.Table:
        """Return the answer of a query in SQL over the table ``rows``, in bounded memory.

        Parameters
        ----------
        sql
            ``rows`` are all of the window: a condition belongs in the query, or is `filtered`. They are read once.
        columns
            The columns that the query needs; None: all, which reads more.
        matching
            Have only those that meet the condition in ``rows``, which reads less; the query has no WITH of its own.
        """
        import duckdb

        with connect() as connection:
            test = self._pushed_down if matching else None
            connection.register("every" if matching else "rows", self._reader(columns, test))
            try:
                return connection.sql(f"{self._matching(columns)} {sql}" if matching else sql).to_arrow_table()
            except duckdb.Error as error:
                raise SourceError(f"{self.signal}: {error}") from error

    def figure(self) -> go.Figure:
        """Return spans as a heatmap of their durations, other rows as their number over time."""
        if self.signal == "spans":
            from .views import Latency

            return Latency(self).figure()
        import pandas as pd

        from .figures import Panel, timeline
        from .tracer.schema import TIME_COLUMN
        from .tracer.window import SECOND_NS

        time_ns = TIME_COLUMN[self.signal]
        whole = self.store.bounds(self.signal) if self.window is None else self.window
        # Whole seconds, which people count in.
        step_ns = SECOND_NS * (1 if whole is None else max(1, whole.duration_ns // _STEPS // SECOND_NS))
        step = f"{time_ns} - {time_ns} % {step_ns}"
        counted = self.query(f"SELECT {step} AS step, count(*) AS n FROM rows GROUP BY 1", [time_ns], matching=True)
        lines = pd.DataFrame({"rows": counted["n"].to_pandas()}).set_index(
            pd.to_datetime(counted["step"].to_pandas(), utc=True)
        )
        whole_line = lines.sort_index().asfreq(pd.Timedelta(step_ns, "ns"), fill_value=0) if len(lines) else lines
        return timeline([Panel(f"{self.signal} in {step_ns // SECOND_NS} s", whole_line)], {})

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
        found = self.query("SELECT count(*) AS n FROM rows", [self._narrow], matching=True)
        return int(found["n"][0].as_py())

    @property
    def _narrow(self) -> str:
        """A column that every row has and that is small."""
        return str(next(f.name for f in SIGNALS[self.signal] if pa.types.is_integer(f.type) and not f.nullable))

    def _matching(self, columns: Sequence[str] | None) -> str:
        """Return the SQL before a query over the rows that meet the condition, out of ``every``."""
        return f"WITH rows AS (SELECT {self._columns(columns)} FROM every WHERE {self.filtered})"

    @cached_property
    def _condition(self) -> exp.Expr | None:
        if self.where is None:
            return None
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

        try:
            return sqlglot.parse_one(self.where, dialect="duckdb", into=exp.Condition)
        except SqlglotError as error:
            raise SourceError(f"where={self.where!r}: no condition in SQL: {str(error).splitlines()[0]}") from None

    @property
    def _pushed_down(self) -> pc.Expression | None:
        if self._condition is None:
            return None
        from .pushdown import pushed_down

        return pushed_down(self._condition, SIGNALS[self.signal])

    @cached_property
    def _condition_columns(self) -> tuple[str, ...]:
        if self._condition is None:
            return ()
        from sqlglot import exp

        names = dict.fromkeys(column.parts[0].name for column in self._condition.find_all(exp.Column))
        known = SIGNALS[self.signal].names
        if unknown := [name for name in names if name not in known]:
            raise SourceError(f"where={self.where!r}: {self.signal} have no {unknown[0]}; they have {', '.join(known)}")
        return tuple(names)

    def _schema(self, columns: Sequence[str] | None) -> pa.Schema:
        schema = SIGNALS[self.signal]
        return schema if columns is None else pa.schema([schema.field(name) for name in columns])

    def _columns(self, columns: Sequence[str] | None) -> str:
        return ", ".join(f'"{name}"' for name in self._schema(columns).names)

    def _reader(self, columns: Sequence[str] | None, test: pc.Expression | None = None) -> pa.RecordBatchReader:
        wanted = None if columns is None else list(dict.fromkeys([*columns, *self._condition_columns]))
        batches: Any = self.store.scan(self.signal, self.window, wanted, test)
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
