"""Batches of even size from batches of any size, and all that can be read from items of which some are broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally, concat

ROWS: Final = 65_536
Item = TypeVar("Item")


def evened(batches: Iterable[Batch], rows: int = ROWS) -> Iterator[Batch]:
    """Yield the rows of ``batches`` in the same order, small ones joined and large ones cut at ``rows`` a signal.

    Tallies travel with the first rows that follow them; the last batch may carry a tally alone.
    """
    pending: list[Batch] = []
    size = 0
    for batch in batches:
        if pending and size + batch.rows > rows:
            yield from _cut(concat(pending), rows)
            pending, size = [], 0
        pending.append(batch)
        size += batch.rows
    if pending:
        yield from _cut(concat(pending), rows)


def _cut(batch: Batch, rows: int) -> Iterator[Batch]:
    largest = max((table.num_rows for table in batch.tables.values()), default=0)
    for start in range(0, max(largest, 1), rows):
        tables = {signal: table.slice(start, rows) for signal, table in batch.tables.items() if table.num_rows > start}
        yield Batch(tables, Tally() if start else batch.tally)


def decode_each(
    decode: Callable[[Sequence[Item]], Batch], items: Sequence[tuple[str, Item]], tally: Tally
) -> Iterator[Batch]:
    """Yield what ``decode`` makes of the items, given with their places; one that it refuses alone is dropped.

    All are tried together, then halves: broken items are few, so this costs little more than one try.
    """
    try:
        yield decode([item for _, item in items])
    except DecodeError as error:
        if len(items) == 1:
            tally.drop("malformed OTLP request", f"{items[0][0]}: {error.reason}")
            return
        half = len(items) // 2
        yield from decode_each(decode, items[:half], tally)
        yield from decode_each(decode, items[half:], tally)
