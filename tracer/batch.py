"""What one decoding step yields: a table per signal, and the tally of what was repaired or dropped on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from .schema import SIGNALS

_SAMPLES_KEPT = 20


@dataclass(slots=True)
class Tally:
    """Counts of what happened to input items: rows accepted by signal, items dropped and repaired by reason."""

    accepted: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def drop(self, reason: str, place: str, count: int = 1) -> None:
        """Count ``count`` items lost for ``reason``; the first places are kept as samples."""
        self.dropped[reason] += count
        if len(self.problems) < _SAMPLES_KEPT:
            self.problems.append(f"{place}: {reason}")

    def repair(self, reason: str, count: int = 1) -> None:
        """Count ``count`` items mended for ``reason``."""
        if count:
            self.repaired[reason] += count

    def add(self, other: Tally) -> None:
        """Add another tally into this one."""
        self.accepted.update(other.accepted)
        self.dropped.update(other.dropped)
        self.repaired.update(other.repaired)
        self.problems.extend(other.problems[: _SAMPLES_KEPT - len(self.problems)])


@dataclass(frozen=True, slots=True)
class Batch:
    """Tables by signal (`hypocenter.tracer.schema.SIGNALS`); a signal that is absent has no rows."""

    tables: dict[str, pa.Table] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def table(self, signal: str) -> pa.Table:
        """Return the table of ``signal``, empty with the right schema when the batch has none."""
        found = self.tables.get(signal)
        return SIGNALS[signal].empty_table() if found is None else found

    @property
    def rows(self) -> int:
        """Rows over all signals."""
        return sum(table.num_rows for table in self.tables.values())


def table_of(schema: pa.Schema, columns: Mapping[str, object], rows: int) -> pa.Table:
    """Return a table of ``schema`` from arrays by column name; the columns not given are null.

    A plain string or number fills its column; NaN of pandas and numpy is null. Raises ValueError for a column that the
    schema lacks.
    """
    if unknown := set(columns) - set(schema.names):
        raise ValueError(f"columns {sorted(unknown)} are not of the schema {schema.names}")
    arrays = []
    for declared in schema:
        given, kind = columns.get(declared.name), declared.type
        if given is None:
            arrays.append(pa.nulls(rows, kind))
        elif isinstance(given, (str, int, float)):
            arrays.append(pa.repeat(pa.scalar(given, kind), rows))
        elif isinstance(given, (pa.Array, pa.ChunkedArray)):
            arrays.append(pc.cast(given, kind))
        else:
            arrays.append(pa.array(given, kind, from_pandas=True))
    return pa.Table.from_arrays(arrays, schema=schema)


def concat(batches: Iterable[Batch]) -> Batch:
    """Return one batch with the rows of all in the given order and their tallies added; series are unique by id."""
    parts: dict[str, list[pa.Table]] = {}
    tally = Tally()
    for batch in batches:
        tally.add(batch.tally)
        for signal, table in batch.tables.items():
            parts.setdefault(signal, []).append(table)
    tables = {signal: pa.concat_tables(tables) for signal, tables in parts.items()}
    if "series" in tables:
        tables["series"] = unique_series([tables["series"]])
    return Batch(tables, tally)


def unique_series(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the series of all tables, the first row of each ``series_id`` kept."""
    import numpy as np

    table = pa.concat_tables(tables) if tables else SIGNALS["series"].empty_table()
    if not table.num_rows:
        return table
    codes = table.column("series_id").combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first = np.unique(codes, return_index=True)
    return table.take(pa.array(np.sort(first)))
