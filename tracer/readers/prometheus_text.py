"""Prometheus text and OpenMetrics: one scrape, or many of them in one file.

The distinct series of a chunk are parsed one by one, its samples as columns. A sample needs a time: its timestamp
(OpenMetrics writes seconds, Prometheus milliseconds; the magnitude tells), else that of the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..batch import Batch, Tally
from ..delimited import to_time_ns
from ..otlp.any_value import plain_double
from ..otlp.batches import evened
from ..prometheus_samples import (
    HELD_ROWS,
    Column,
    SeriesBook,
    native_to_points,
    no_samples,
    numbers_to_points,
    parts_to_points,
    to_batch,
    to_numbers,
    with_starts,
)
from ..source import Source

NAME: Final = "prometheus-text"
_CHUNK_BYTES: Final = 4 << 20
_LINE_LIMIT_BYTES: Final = 64 << 20
# A colon outside of quotes tells a native histogram from labels.
_LABELS: Final = r'\{(?:[^":}]|"(?:[^"\\]|\\.)*")*\}'
_SAMPLE: Final = (
    rf"^[ \t]*(?P<series>(?:[a-zA-Z_:][a-zA-Z0-9_:.]*[ \t]*(?:{_LABELS})?)|{_LABELS})[ \t]+"
    rf"(?P<number>\{{[^}}\"]*\}}|[^ \t#]+)(?:[ \t]+(?P<time>[^ \t#]+))?(?:[ \t]*#[ \t]*(?P<exemplar>{_LABELS}.*))?\s*$"
)
_COMMENT: Final = re.compile(r"#[ \t]+(TYPE|UNIT)[ \t]+(\S+)[ \t]+(\S+)")
_PAIR: Final = re.compile(r'\s*(?:([^\s"=,{}]+|"(?:[^"\\]|\\.)*")\s*=\s*)?"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPE: Final = re.compile(r'\\([\\"n])')
_EXEMPLAR: Final = re.compile(rf"({_LABELS})[ \t]+(\S+)(?:[ \t]+(\S+))?")
_FIRST_LINE: Final = re.compile(r"#[ \t]+(TYPE|HELP|UNIT)[ \t]+\S|# EOF")


def matches(head: bytes, file_name: str) -> bool:
    """Tell by a comment of the format, or by first lines that are samples all."""
    lines = [line for line in head.decode("utf-8", "replace").split("\n")[:20] if line.strip()]
    if any(_FIRST_LINE.match(line) for line in lines):
        return True
    samples = pa.array([line for line in lines if not line.startswith("#")], pa.string())
    found = pc.struct_field(pc.extract_regex(samples, _SAMPLE), "number")
    return len(samples) > 0 and to_numbers(found).null_count == 0


def read(source: Source) -> Iterator[Batch]:
    """Yield the series and points; a line that is no sample, or a sample without a time, is dropped with its place."""
    return evened(_chunks(source))


def _chunks(source: Source) -> Iterator[Batch]:
    book = SeriesBook(source.name)
    known: dict[str, Column | None] = {}
    held: list[pd.DataFrame] = []
    line_number = 1
    for text in _blocks(source):
        tally = Tally()
        lines = pc.split_pattern(pa.array([text], pa.large_string()), "\n").flatten().cast(pa.string())
        _learn(book, lines)
        frame = _samples(source, lines, line_number, known, book, tally)
        line_number += len(lines) - 1
        numbers, starts, native = (frame[frame.part == part] for part in ("number", "start", "native"))
        parts = frame[~frame.part.isin(("number", "start", "native"))]
        if len(starts):
            numbers = with_starts(numbers, starts, source.name, tally)
        ended, held = _split_run([*held, parts], frame)
        points = [
            numbers_to_points(book, numbers),
            native_to_points(book, native, tally),
            parts_to_points(book, ended, tally),
        ]
        yield to_batch(book.new_series(), pa.concat_tables(points), tally)
    tally = Tally()
    yield to_batch(book.new_series(), parts_to_points(book, pd.concat([no_samples(), *held]), tally), tally)


def _blocks(source: Source) -> Iterator[str]:
    """Yield text that ends with a whole line."""
    rest = b""
    while chunk := source.stream.read(_CHUNK_BYTES):
        block = rest + chunk
        end = block.rfind(b"\n") + 1
        if not end and len(block) < _LINE_LIMIT_BYTES:
            rest = block
            continue
        end = end or len(block)
        rest = block[end:]
        yield block[:end].decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def _learn(book: SeriesBook, lines: pa.Array) -> None:
    for comment in lines.filter(pc.starts_with(lines, "#")).unique().to_pylist():
        if found := _COMMENT.match(comment):
            what, family, value = found.groups()
            (book.types if what == "TYPE" else book.units)[family.strip('"')] = value


def _samples(
    source: Source, lines: pa.Array, first_line: int, known: dict[str, Column | None], book: SeriesBook, tally: Tally
) -> pd.DataFrame:
    """Return the samples that can be read, in order: family, part, row, bound, time_ns, value, exemplar."""
    is_sample = pc.and_not(pc.match_substring_regex(lines, r"\S"), pc.match_substring_regex(lines, r"^\s*#"))
    place = np.flatnonzero(is_sample.to_numpy(zero_copy_only=False)) + first_line
    found = pc.extract_regex(lines.filter(is_sample), _SAMPLE)
    series = pc.utf8_trim_whitespace(pc.struct_field(found, "series")).dictionary_encode()
    number = pc.struct_field(found, "number")
    composite = pc.fill_null(pc.starts_with(number, "{"), False)
    for text in series.filter(composite).unique().to_pylist():
        if text is not None and (parsed := parse_series(text)) is not None:
            book.types.setdefault(parsed[0], "histogram")
    for text in series.dictionary.to_pylist():
        if text not in known:
            parsed = parse_series(text)
            known[text] = None if parsed is None else book.column_of(*parsed)
    columns = [known[text] for text in series.dictionary.to_pylist()]
    readable = pa.array([column is not None for column in columns], pa.bool_()).take(series.indices)
    value, time = to_numbers(number), pc.struct_field(found, "time")
    is_native = pa.array([column is not None and column.part == "native" for column in columns], pa.bool_())
    # A histogram is told by a histogram, anything else by a number.
    fits = pc.if_else(is_native.take(series.indices), composite, pc.is_valid(value))
    time = pc.if_else(pc.equal(time, ""), None, time)
    time_ns = to_time_ns(time)
    if source.time_ns is not None:
        time_ns = pc.if_else(pc.is_null(time), source.time_ns, time_ns)
    keep = np.ones(len(place), bool)
    for reason, mask in (
        ("line that is no sample", pc.and_(pc.fill_null(readable, False), pc.fill_null(fits, False))),
        ("sample without a timestamp", pc.or_(pc.is_valid(time), source.time_ns is not None)),
        ("sample with a malformed timestamp", pc.is_valid(time_ns)),
    ):
        wrong = keep & ~mask.to_numpy(zero_copy_only=False)
        if wrong.any():
            tally.drop(reason, f"{source.name}: line {place[wrong.argmax()]}", int(wrong.sum()))
            keep &= ~wrong
    code = pc.fill_null(series.indices, -1).to_numpy(zero_copy_only=False)[keep]
    of = {
        name: np.array([getattr(column, name, None) for column in columns], dtype)
        for name, dtype in (("family", object), ("part", object), ("row", "f8"), ("bound", "f8"))
    }
    frame = pd.DataFrame({name: values[code] if len(values) else values[:0] for name, values in of.items()})
    frame["row"] = frame["row"].astype("i8")
    frame["time_ns"] = pc.fill_null(time_ns, 0).to_numpy(zero_copy_only=False)[keep]
    frame["value"] = pc.fill_null(value, np.nan).to_numpy(zero_copy_only=False)[keep]
    frame["text"] = pc.struct_field(found, "number").filter(pa.array(keep)).to_pylist()
    texts = pc.struct_field(found, "exemplar").filter(pa.array(keep)).to_pylist()
    given = [text and _exemplar(text) for text in texts]
    malformed = sum(bool(text) and one is None for text, one in zip(texts, given, strict=True))
    if malformed:
        tally.drop("malformed exemplar", source.name, malformed)
    frame["exemplar"] = pd.Series(given, dtype=object, index=frame.index).replace("", None)
    return frame


def _split_run(parts: list[pd.DataFrame], frame: pd.DataFrame) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Return the parts whose family's run has ended, and those of a run that the next chunk may continue."""
    last = frame.iloc[-1] if len(frame) else None
    if last is None:
        return no_samples(), parts
    if last.part == "number" or sum(map(len, parts)) > HELD_ROWS:
        return pd.concat([no_samples(), *parts]), []
    if (frame.family == last.family).all() and all((part.family == last.family).all() for part in parts[:1]):
        return no_samples(), parts
    joined = pd.concat([no_samples(), *parts], ignore_index=True)
    other = np.flatnonzero((joined.family != last.family).to_numpy())
    start = int(other[-1]) + 1 if len(other) else 0
    return joined[:start], [joined[start:]]


def parse_series(text: str) -> tuple[str, dict[str, str]] | None:
    """Return name and labels of ``name{label="value"}`` or ``{"name",label="value"}``; None when it is neither.

    >>> parse_series('up{job="a\\\\"b"}')
    ('up', {'job': 'a"b'})
    """
    name, brace, rest = text.partition("{")
    name, inside = name.strip(), rest.rstrip()[:-1].strip() if brace else ""
    labels: dict[str, str] = {}
    position = 0
    while position < len(inside):
        pair = _PAIR.match(inside, position)
        if pair is None or pair.end() == position:
            return None
        key, value = pair.groups()
        if key is None and name:
            return None
        if key is None:
            name = _unescaped(value)
        else:
            labels[_unescaped(key[1:-1]) if key.startswith('"') else key] = _unescaped(value)
        position = pair.end()
    return (name, labels) if name else None


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def _exemplar(text: str) -> str | None:
    """Return the JSON of an exemplar, None when it is malformed."""
    found = _EXEMPLAR.match(text)
    parsed = parse_series(f"exemplar{found[1]}") if found else None
    if not found or parsed is None:
        return None
    try:
        value = float(found[2])
    except ValueError:
        return None
    labels = parsed[1]
    entry: dict[str, object] = {}
    if found[3] and (time_ns := to_time_ns(pa.array([found[3]]))[0].as_py()) is not None:
        entry["time_ns"] = time_ns
    entry["value"] = plain_double(value)
    entry |= {name: labels.pop(name) for name in ("trace_id", "span_id") if name in labels}
    if labels:
        entry["attributes"] = labels
    return orjson.dumps(entry).decode()
