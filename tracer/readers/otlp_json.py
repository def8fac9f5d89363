"""OTLP/JSON files: a request object a line, or pretty-printed objects, or arrays of requests; signals may be mixed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import orjson

from ..batch import Batch, Tally, concat
from ..garbage import collection_paused
from ..otlp.batches import decode_each, evened
from ..otlp.decode import decode_json, decode_json_traces
from ..otlp.json_arrow import is_trace_request
from ..source import Source

NAME: Final = "otlp-json"
SIGNALS: Final = {
    "resourceSpans": "traces",
    "resource_spans": "traces",
    "resourceMetrics": "metrics",
    "resource_metrics": "metrics",
    "resourceLogs": "logs",
    "resource_logs": "logs",
}
MAX_LINE_BYTES: Final = 256 * 2**20
_CHUNK_BYTES: Final = 8 * 2**20  # parsed JSON takes about ten times its text
_BOM: Final = b"\xef\xbb\xbf"
_FIRST_KEY: Final = re.compile(rb'\s*\[?\s*\{\s*"resource(?:_?[sS]pans|_?[mM]etrics|_?[lL]ogs)"\s*:')
_Document = tuple[str, bytes]  # its place and its text
_Request = tuple[str, object]  # its place and its parsed JSON


def matches(head: bytes, file_name: str) -> bool:
    """Tell whether the first object, or the first whole line that is one, is an OTLP request."""
    del file_name
    text = head.removeprefix(_BOM)
    if _FIRST_KEY.match(text):
        return True
    return any(_FIRST_KEY.match(line) or _is_request(line) for line in text.splitlines()[:20])


def _is_request(line: bytes) -> bool:
    if not line.lstrip().startswith(b"{") or b'"resource' not in line:
        return False
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and not SIGNALS.keys().isdisjoint(value)


def read(source: Source) -> Iterator[Batch]:
    """Yield batches of up to 65,536 rows; lines that cannot be read are dropped with their number."""
    return evened(_chunks(source))


def _chunks(source: Source) -> Iterator[Batch]:
    documents: list[_Document] = []
    tally = Tally()
    size = 0
    for line_number, text in _documents(source, tally):
        documents.append((f"{source.name}: line {line_number}", text))
        size += len(text)
        if size >= _CHUNK_BYTES:
            yield _decoded(documents, source.name, tally)
            tally, documents, size = Tally(), [], 0
    yield _decoded(documents, source.name, tally)


def _documents(source: Source, tally: Tally) -> Iterator[tuple[int, bytes]]:
    """Yield the texts of JSON values with the number of their first line.

    In a file of pretty-printed objects a value ends with a line that begins with its closing bracket.
    """
    pretty = _is_pretty_printed(source.head())
    first, size = 1, 0
    parts: list[bytes] = []
    for number, line in _lines(source):
        text = line.removeprefix(_BOM) if number == 1 else line
        if not parts:
            first = number
        size += len(text)
        if size > MAX_LINE_BYTES:
            parts = [b""]  # what follows belongs to the same value: only its end matters
        else:
            parts.append(text)
        goes_on = len(line) > MAX_LINE_BYTES and not line.endswith(b"\n")
        if goes_on or (pretty and not text.startswith((b"}", b"]"))):
            continue
        yield from _whole(first, parts, size, source.name, tally)
        parts, size = [], 0
    yield from _whole(first, parts, size, source.name, tally)


def _whole(first: int, parts: Sequence[bytes], size: int, name: str, tally: Tally) -> Iterator[tuple[int, bytes]]:
    if size > MAX_LINE_BYTES:
        tally.drop("line longer than 256 MiB", f"{name}: line {first}")
    elif text := b"".join(parts).strip():
        yield first, text


def _lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with their numbers, one that is too long in parts of bounded length under one number."""
    number = 1
    while line := source.stream.readline(MAX_LINE_BYTES + 1):
        yield number, line
        number += line.endswith(b"\n")


def _is_pretty_printed(head: bytes) -> bool:
    lines = [line for line in head.removeprefix(_BOM).splitlines() if line.strip()]
    if not lines or len(lines) == 1:
        return False
    try:
        orjson.loads(lines[0])
    except orjson.JSONDecodeError:
        return not lines[1].startswith(b"{")
    return False


def _decoded(documents: Sequence[_Document], name: str, tally: Tally) -> Batch:
    """Return what the documents hold: traces by the fast route if it decides them all, else all by the plain one."""
    spans, others = None, documents
    if traces := [text for _, text in documents if is_trace_request(text)]:
        spans = decode_json_traces(traces, name)
    if spans is not None:
        others = [document for document in documents if not is_trace_request(document[1])]
    by_signal, found = _by_signal(others)
    if spans is not None and "traces" in by_signal:  # their rows stand among those of the others
        spans = None
        by_signal, found = _by_signal(documents)
    tally.add(found)
    parts = [
        part
        for signal, requests in by_signal.items()
        for part in decode_each(partial(decode_json, signal, source=name), requests, tally)
    ]
    return concat([Batch({}, tally), *([] if spans is None else [spans]), *parts])


@collection_paused()
def _by_signal(documents: Sequence[_Document]) -> tuple[dict[str, list[_Request]], Tally]:
    """Return the parsed requests of each signal, traces first, and what was dropped for being none."""
    tally = Tally()
    requests: list[_Request] = []
    for place, text in documents:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            tally.drop("line that is not JSON", f"{place}: {error.msg}")
            continue
        requests += [(place, item) for item in (value if isinstance(value, list) else [value])]
    by_signal: dict[str, list[_Request]] = {signal: [] for signal in ("traces", "metrics", "logs")}
    for place, value in requests:
        signals = {SIGNALS[key] for key in value if key in SIGNALS} if isinstance(value, dict) else set()
        if not signals:
            tally.drop("JSON value that is no OTLP request", place)
        for signal in signals:
            by_signal[signal].append((place, value))
    return {signal: found for signal, found in by_signal.items() if found}, tally
