"""CSV as it comes: cut, ragged, in broken encodings; numbers and times without loss."""

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.errors import DecodeError
from hypocenter.tracer.batch import Tally
from hypocenter.tracer.delimited import header_of, read_header, read_rows, to_float64, to_int64, to_time_ns
from hypocenter.tracer.source import Source, decompressed


def source_of(content: bytes) -> Source:
    return Source("x.csv", decompressed(io.BytesIO(content)))


def rows_of(content: bytes, max_rows: int = 100) -> tuple[list[dict[str, str | None]], Tally]:
    source, found, tally = source_of(content), [], Tally()
    for rows in read_rows(source, read_header(source), max_rows=max_rows):
        found += rows.table.to_pylist()
        tally.add(rows.tally)
    return found, tally


def test_empty_cells_are_null_and_quotes_hold_commas_and_line_breaks() -> None:
    assert rows_of(b'\xef\xbb\xbfa,b\r\n1,\r\n"x,\ny",NA\r\n')[0] == [{"a": "1", "b": None}, {"a": "x,\ny", "b": "NA"}]


def test_ragged_rows_are_dropped_at_their_place_and_the_rest_is_read() -> None:
    found, tally = rows_of(b"a,b\n1,2\n3\n4,5\n6,7,8")
    assert found == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert tally.dropped == {"row without 2 cells": 2}


def test_bytes_that_are_not_utf8_are_replaced_and_counted() -> None:
    found, tally = rows_of("a,b\nx\ufffd\xff,ü\n".encode() + b"\xff,\xc3")
    assert found == [{"a": "x\ufffd\xff", "b": "ü"}, {"a": "\ufffd", "b": "\ufffd"}]
    assert tally.repaired == {"bytes that are not UTF-8": 2}


def test_of_equal_names_the_first_column_is_kept() -> None:
    assert rows_of(b"a,a\n1,2\n")[0] == [{"a": "1"}]


def test_header_alone_has_no_rows() -> None:
    assert rows_of(b"a,b")[0] == rows_of(b"a,b\n")[0] == []


def test_file_without_a_header_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match=r"x\.csv: line 1: expected a CSV header"):
        read_header(source_of(b'"a,b\n1,2\n'))
    assert header_of(b'"a') == []


@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), min_size=2, max_size=2)),
    st.integers(1, 5),
)
def test_every_written_row_is_read_in_order(rows: list[list[str]], max_rows: int) -> None:
    import csv

    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    found, _ = rows_of(text.getvalue().encode(), max_rows)
    assert [[row["a"] or "", row["b"] or ""] for row in found] == rows


@given(st.lists(st.one_of(st.integers(-(2**62), 2**62).map(str), st.sampled_from(["", "x", "9" * 30, "1.5.2"]))))
def test_whole_numbers_are_exact_beside_broken_ones(texts: list[str]) -> None:
    expected = [int(t) if t.lstrip("-").isdigit() and len(t) < 25 else None for t in texts]
    assert to_int64(pa.array(texts, pa.string())).to_pylist() == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_decimals_are_read_as_python_reads_them(numbers: list[float]) -> None:
    texts = [*map(repr, numbers), "NaN", "oops"]
    found = to_float64(pa.array(texts, pa.string())).to_pylist()
    assert np.array_equal(found[:-2], numbers) and found[-2:] == [None, None]


@given(st.integers(10**17, 2**62))
def test_times_keep_every_nanosecond(time_ns: int) -> None:
    seconds, rest = divmod(time_ns, 10**9)
    texts = [str(time_ns), f"{seconds}.{rest:09d}", f"{time_ns // 10**6}.{time_ns % 10**6:06d}"]
    assert to_time_ns(pa.array(texts)).to_pylist() == [time_ns] * 3
