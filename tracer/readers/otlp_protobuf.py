"""OTLP protobuf files: one serialized request, or a stream of them with the length of each before it.

The length is a varint (protobuf's delimited form) or 4 bytes, big-endian (the file exporter of the Collector).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, Final

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally, concat
from ..otlp.batches import decode_each, evened
from ..otlp.decode import decode_protobuf
from ..otlp.wire import signal_of, varint
from ..source import Source

NAME: Final = "otlp-protobuf"
MAX_REQUEST_BYTES: Final = 256 * 2**20
_CHUNK_BYTES: Final = 8 * 2**20
_PREFIX_BYTES: Final = 4


def matches(head: bytes, file_name: str) -> bool:
    """Tell whether the bytes have the structure of a request, alone or with its length before it."""
    del file_name
    return _framing(head) is not None


def read(source: Source) -> Iterator[Batch]:
    """Yield batches of up to 65,536 rows; requests that cannot be read are dropped with their offset.

    Raises DecodeError for bytes that are no OTLP, or a single request that is broken or larger than 256 MiB.
    """
    framing = _framing(source.head())
    if framing is None:
        raise DecodeError(source.name, "offset 0", "expected OTLP protobuf of traces, metrics or logs")
    return evened(_whole(source) if framing == "whole" else _stream(source, framing))


def _framing(head: bytes) -> str | None:
    """Return how requests stand in the file: ``whole``, ``prefixed`` (4 bytes) or ``delimited`` (varint)."""
    if signal_of(head, cut=True):
        return "whole"
    for framing, (length, start) in (("prefixed", _prefix(head)), ("delimited", _varint_length(head))):
        first = head[start : start + length]
        if 0 < length <= MAX_REQUEST_BYTES and signal_of(first, cut=len(first) < length):
            return framing
    return None


def _prefix(head: bytes) -> tuple[int, int]:
    return int.from_bytes(head[:_PREFIX_BYTES], "big"), _PREFIX_BYTES


def _varint_length(head: bytes) -> tuple[int, int]:
    try:
        return varint(head, 0)
    except (IndexError, ValueError):
        return 0, 0


def _whole(source: Source) -> Iterator[Batch]:
    payload = source.stream.read(MAX_REQUEST_BYTES + 1)
    if len(payload) > MAX_REQUEST_BYTES:
        raise DecodeError(source.name, "offset 0", "a request larger than 256 MiB; split the file")
    yield decode_protobuf(signal_of(payload) or "traces", [payload], source.name)


def _stream(source: Source, framing: str) -> Iterator[Batch]:
    tally = Tally()
    requests: dict[str, list[tuple[str, bytes]]] = {}  # by signal
    signal, size = "traces", 0
    for offset, payload in _payloads(source, framing, tally):
        signal = signal_of(payload) or signal  # what tells nothing is most likely more of the same
        requests.setdefault(signal, []).append((f"{source.name}: offset {offset}", payload))
        size += len(payload)
        if size >= _CHUNK_BYTES:
            yield _decoded(requests, source.name, tally)
            tally, requests, size = Tally(), {}, 0
    yield _decoded(requests, source.name, tally)


def _decoded(requests: dict[str, list[tuple[str, bytes]]], name: str, tally: Tally) -> Batch:
    parts = [
        part
        for signal, found in requests.items()
        for part in decode_each(partial(decode_protobuf, signal, source=name), found, tally)
    ]
    return concat([Batch({}, tally), *parts])


def _payloads(source: Source, framing: str, tally: Tally) -> Iterator[tuple[int, bytes]]:
    """Yield the requests with the offset of each; where a length makes no sense the rest cannot be read."""
    offset = 0
    stream = source.stream
    while prefix := stream.read(_PREFIX_BYTES) if framing == "prefixed" else _varint_bytes(stream):
        length, width = _prefix(prefix) if framing == "prefixed" else _varint_length(prefix)
        place = f"{source.name}: offset {offset}"
        if width != len(prefix) or length > MAX_REQUEST_BYTES:
            tally.drop("length of a request that makes no sense; the rest is unreadable", place)
            return
        payload = stream.read(length)
        if len(payload) < length:
            tally.drop("request cut short by the end of the file", place)
            return
        if payload:
            yield offset, payload
        offset += width + length


def _varint_bytes(stream: BinaryIO) -> bytes:
    found = b""
    while len(found) < 10 and (byte := stream.read(1)):
        found += byte
        if byte[0] < 0x80:
            break
    return found
