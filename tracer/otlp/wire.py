"""Telling OTLP protobuf from other bytes: protobuf names nothing, so the structure of the first bytes must tell.

Parsing is no test: protobuf skips fields that it does not know, and a request of one signal parses as another. Here a
known field must have its wire type, text must be UTF-8, ids must have their length, lengths must fit, and only field
numbers above the known ones may be new.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from .decode import REQUESTS
from .ids import SPAN_ID_BYTES, TRACE_ID_BYTES

_LOOKED_AT_BYTES: Final = 16 * 1024
_MAX_DEPTH: Final = 100
_MAX_NEW_FIELD: Final = 1000
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_WIDTH: Final = {_FIXED64: 8, _FIXED32: 4}
_ID_BYTES: Final = {"trace_id": TRACE_ID_BYTES, "span_id": SPAN_ID_BYTES, "parent_span_id": SPAN_ID_BYTES}
_WIRE_TYPES: Final = {
    FieldDescriptor.TYPE_DOUBLE: _FIXED64,
    FieldDescriptor.TYPE_FIXED64: _FIXED64,
    FieldDescriptor.TYPE_SFIXED64: _FIXED64,
    FieldDescriptor.TYPE_FIXED32: _FIXED32,
    FieldDescriptor.TYPE_STRING: _LENGTH,
    FieldDescriptor.TYPE_BYTES: _LENGTH,
    FieldDescriptor.TYPE_MESSAGE: _LENGTH,
}
# Where one of these was seen whole the bytes say something; an empty request fits everything.
_TELLING: Final = {"KeyValue", "Span", "Metric", "LogRecord"}


class _Implausible(Exception):
    """The bytes break a rule of the message."""


def signal_of(request: bytes, *, cut: bool = False) -> str | None:
    """Return traces, metrics or logs if ``request`` can be a request of that signal, None for other bytes.

    At most 16 KiB are looked at; ``cut`` tells that ``request`` is only the beginning of one.
    """
    data = request[:_LOOKED_AT_BYTES]
    cut = cut or len(data) < len(request)
    for signal, kind in REQUESTS.items():
        try:
            if _Walk(data, cut).is_telling(kind.DESCRIPTOR):
                return signal
        except _Implausible:
            continue
    return None


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at ``at`` and where it ends. IndexError if the bytes end before, ValueError beyond 64 bits."""
    value = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("expected a varint of at most 64 bits")


@dataclass(slots=True)
class _Walk:
    data: bytes
    cut: bool
    told: int = 0

    def is_telling(self, message: Descriptor) -> bool:
        self._message(message, 0, None, 0)
        return self.told > 0

    def _message(self, message: Descriptor, at: int, end: int | None, depth: int) -> None:
        """Check the fields from ``at`` to ``end``, None for the end of the request."""
        if depth > _MAX_DEPTH:
            raise _Implausible
        known, highest = _fields_of(message)
        stop = len(self.data) if end is None else min(end, len(self.data))
        while at < stop:
            try:
                tag, at = varint(self.data, at)
                wire = tag & 7
                length, at = varint(self.data, at) if wire in (_VARINT, _LENGTH) else (_FIXED_WIDTH[wire], at)
            except IndexError:
                if self.cut:
                    return
                raise _Implausible from None
            except (KeyError, ValueError):
                raise _Implausible from None
            following = at if wire == _VARINT else at + length
            if (end is not None and following > end) or (not self.cut and following > len(self.data)):
                raise _Implausible
            field = known.get(tag >> 3)
            if field is None:
                if not highest < tag >> 3 < _MAX_NEW_FIELD:
                    raise _Implausible
            else:
                self._field(field, wire, at, following, depth)
            at = following
        if end is not None and end <= len(self.data) and message.name in _TELLING:
            self.told += 1

    def _field(self, field: Any, wire: int, at: int, end: int, depth: int) -> None:
        expected = _WIRE_TYPES.get(field.type, _VARINT)
        packed = field.is_repeated and expected != _LENGTH and wire == _LENGTH
        if wire != expected and not packed:
            raise _Implausible
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            self._message(field.message_type, at, end, depth + 1)
        elif field.type == FieldDescriptor.TYPE_STRING:
            try:
                codecs.getincrementaldecoder("utf-8")().decode(self.data[at:end], final=end <= len(self.data))
            except UnicodeDecodeError:
                raise _Implausible from None
        elif field.name in _ID_BYTES and end - at not in (0, _ID_BYTES[field.name]):
            raise _Implausible


@cache
def _fields_of(message: Descriptor) -> tuple[dict[int, Any], int]:
    known = {field.number: field for field in message.fields}
    return known, max(known)
