"""CSV as a stream of tables of text, and exact numbers and times out of text."""

from __future__ import annotations

import codecs
import csv
import functools
import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from hypocenter.errors import DecodeError

from .batch import Tally
from .source import Source

MAX_ROWS = 65_536
_BLOCK_BYTES = 4 << 20
_HEADER_LIMIT_BYTES = 4 << 20
_BOM = "\ufeff"
_WHOLE = r"^[+-]?[0-9]{1,18}$|^[+-]?[0-8][0-9]{18}$"
_EPOCH = r"^\s*(?P<whole>[0-9]{1,19})(?:\.(?P<decimals>[0-9]*))?\s*$"
_SCIENTIFIC = r"^[0-9](?:\.[0-9]{1,30})?[eE]\+?[0-9]{1,2}$"
_DECIMAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows as columns of text (an empty cell is null).

    ``first`` is the line of the first row, counted from 1 and as if each row were one line; ``tally`` holds what was
    lost before or among them. Of columns that share a name the first is kept.
    """

    source: str
    first: int
    table: pa.Table
    tally: Tally

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def text(self, name: str) -> pa.Array:
        """Return a column, all null when the file lacks it."""
        if name not in self.table.column_names:
            return pa.nulls(len(self), pa.string())
        return self.table.column(name).combine_chunks()

    def keep(self, wanted: pa.Array, reason: str) -> Rows:
        """Return the rows where ``wanted`` is true; the others are dropped for ``reason`` at the first one's place."""
        lost = len(wanted) - (pc.sum(wanted).as_py() or 0)
        if not lost:
            return self
        self.tally.drop(reason, f"{self.source}: row {self.first + pc.index(wanted, False).as_py()}", lost)
        return Rows(self.source, self.first, self.table.filter(wanted), self.tally)


def header_of(head: bytes) -> list[str]:
    """Return the cells of the first line, none when it is no CSV."""
    line = head.split(b"\n", 1)[0].decode("utf-8", "replace").removeprefix(_BOM).rstrip("\r")
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return []


def read_header(source: Source) -> list[str]:
    """Consume the first line and return its cells. Raises DecodeError for a line that is no CSV or has no end."""
    line = source.stream.readline(_HEADER_LIMIT_BYTES)
    cells = header_of(line)
    if not cells or (len(line) == _HEADER_LIMIT_BYTES and not line.endswith(b"\n")):
        raise DecodeError(source.name, "line 1", "expected a CSV header")
    return cells


def read_columns(source: Source, required: Collection[str]) -> Iterator[Rows]:
    """Yield the rows of a source that begins with its header. Raises DecodeError without a ``required`` column."""
    header = read_header(source)
    if set(required) - set(header):
        raise DecodeError(source.name, "line 1", f"expected the columns {', '.join(required)}")
    yield from read_rows(source, header)


def read_rows(source: Source, names: list[str], first: int = 2, max_rows: int = MAX_ROWS) -> Iterator[Rows]:
    """Yield the rest of the source under the column ``names``, at most ``max_rows`` rows at a time.

    A row with another number of cells is dropped, bytes that are not UTF-8 are replaced; both are counted. Raises
    DecodeError where the quotes do not end.
    """
    place, pending = first, Tally()

    def ragged(row: pacsv.InvalidRow) -> str:
        pending.drop(f"row without {len(names)} cells", f"{source.name}: after row {place - 1}")
        return "skip"

    def repaired(count: int) -> None:
        pending.repair("bytes that are not UTF-8", count)

    unique = [f"{position}" for position in range(len(names))]
    kept = {name: position for position, name in reversed(list(enumerate(names)))}
    stream = io.BufferedReader(_Utf8(source.stream, repaired), 1 << 16)
    if not stream.peek(1):
        return
    try:
        reader = pacsv.open_csv(
            stream,
            pacsv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=unique),
            pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=ragged),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(unique, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
        for block in reader:
            table = pa.Table.from_batches([block]).select(list(kept.values())).rename_columns(list(kept))
            for offset in range(0, table.num_rows, max_rows):
                rows, pending = Rows(source.name, place, table.slice(offset, max_rows), pending), Tally()
                place += len(rows)
                yield rows
    except pa.ArrowInvalid as error:
        raise DecodeError(source.name, f"after row {place - 1}", f"not CSV: {str(error).splitlines()[0]}") from error
    if pending.dropped or pending.repaired:
        yield Rows(source.name, place, pa.table({name: pa.array([], pa.string()) for name in kept}), pending)


def all_valid(*arrays: pa.Array) -> pa.Array:
    """Return where none of the arrays is null."""
    return functools.reduce(pc.and_, (pc.is_valid(array) for array in arrays))


def to_int64(text: pa.Array) -> pa.Array:
    """Return whole numbers exactly, decimals rounded, anything else (or beyond 64 bits) null.

    >>> to_int64(pa.array(["1661140374351773094", "2.0", "x", None])).to_pylist()
    [1661140374351773094, 2, None, None]
    """
    try:
        return text.cast(pa.int64())
    except pa.ArrowInvalid:
        pass
    text = pc.utf8_trim_whitespace(text)
    whole = pc.match_substring_regex(text, _WHOLE)
    exact = pc.if_else(whole, pc.replace_substring_regex(text, r"^\+", ""), None).cast(pa.int64())
    rounded = pc.round(to_float64(pc.if_else(whole, None, text)))
    within = pc.less(pc.abs(rounded), 2.0**63)
    return pc.coalesce(exact, pc.if_else(within, rounded, None).cast(pa.int64(), safe=False))


def to_float64(text: pa.Array) -> pa.Array:
    """Return finite numbers; anything else is null.

    >>> to_float64(pa.array(["0.5", "NaN", "1e3", "inf", "x", ""])).to_pylist()
    [0.5, None, 1000.0, None, None, None]
    """
    try:
        numbers = text.cast(pa.float64())
    except pa.ArrowInvalid:
        text = pc.utf8_trim_whitespace(text)
        written = pc.match_substring_regex(text, _DECIMAL)
        numbers = pc.replace_substring_regex(pc.if_else(written, text, None), r"^\+", "").cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def to_time_ns(text: pa.Array) -> pa.Array:
    """Return epoch nanoseconds of epoch s, ms, us or ns (told apart by magnitude) or RFC 3339 text; else null.

    >>> to_time_ns(pa.array(["1700000000.5", "1700000000500", "2023-11-14T22:13:20.5Z", "never"])).to_pylist()
    [1700000000500000000, 1700000000500000000, 1700000000500000000, None]
    """
    parts = pc.extract_regex(text, _EPOCH)
    whole = to_int64(pc.struct_field(parts, "whole"))
    digits = pc.utf8_slice_codeunits(pc.utf8_rpad(pc.struct_field(parts, "decimals"), 9, "0"), 0, 9)
    billionths = pc.fill_null(to_int64(digits), 0).to_numpy(zero_copy_only=False)
    known = pc.is_valid(whole).to_numpy(zero_copy_only=False)
    epoch = pc.fill_null(whole, 0).to_numpy(zero_copy_only=False)
    unit = np.select([epoch >= 10**17, epoch >= 10**14, epoch >= 10**11], [1, 10**3, 10**6], 10**9)
    known = known & (epoch <= (2**63 - 1 - 10**9) // unit)
    times = np.where(known, epoch, 0) * unit + billionths * unit // 10**9
    if not known.all():
        unread = np.flatnonzero(~known & pc.is_valid(text).to_numpy(zero_copy_only=False))
        other = _rare_times(text.take(pa.array(unread)))
        found = pc.is_valid(other).to_numpy(zero_copy_only=False)
        times[unread[found]] = pc.drop_null(other).to_numpy(zero_copy_only=False)
        known[unread[found]] = True
    return pa.array(times, pa.int64(), mask=~known)


def _rare_times(text: pa.Array) -> pa.Array:
    """Return times in scientific notation (as Go prints seconds), which a double would round, and dates."""
    import pandas as pd

    encoded = text.dictionary_encode()
    distinct = pd.Series(encoded.dictionary.to_pylist(), dtype="object")
    is_number = np.array(pc.match_substring_regex(encoded.dictionary, _SCIENTIFIC), bool)
    written_out = pa.array([f"{Decimal(number):f}" for number in distinct[is_number]], pa.string())
    dates = pd.to_datetime(distinct[~is_number], utc=True, errors="coerce", format="ISO8601")
    dates = dates.where(dates.between(pd.Timestamp(0, tz="UTC"), pd.Timestamp("2262-01-01", tz="UTC")))
    times = np.zeros(len(distinct), "i8")
    known = np.zeros(len(distinct), bool)
    times[~is_number] = dates.dt.as_unit("ns").astype("int64")
    known[~is_number] = dates.notna()
    if len(written_out):
        numbers = to_time_ns(written_out)
        times[is_number] = pc.fill_null(numbers, 0)
        known[is_number] = pc.is_valid(numbers)
    return pa.array(times, mask=~known).take(encoded.indices)


class _Utf8(io.RawIOBase):
    """Passes UTF-8 on; what is not UTF-8 becomes U+FFFD and is counted."""

    def __init__(self, plain: io.BufferedReader, on_repair: Callable[[int], None]) -> None:
        self._plain, self._on_repair = plain, on_repair
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            chunk = self._plain.read(1 << 20)
            text = self._decoder.decode(chunk, final=not chunk)
            if not text.isascii():
                self._on_repair(text.count("\ufffd") - chunk.count("\ufffd".encode()))
            self._ready = memoryview(text.encode())
            if not chunk:
                break
        taken = self._ready[: len(buffer)]
        buffer[: len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return len(taken)
