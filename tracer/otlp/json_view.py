"""OTLP/JSON objects seen as the protobuf messages that they stand for, so that one flatten serves both encodings.

The mapping is protobuf's (lowerCamelCase or original names, 64-bit integers as text or number, enums by number or name,
unknown fields ignored, null as absent) with OTLP's exception: trace and span ids are hex. Attributes become `Pairs` and
AnyValues their JSON text at once: objects of their own for each would cost most of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from .any_value import Malformed, double, from_base64, int64, json_pairs_of, json_text_of

_Convert = Callable[[Any], Any]
_IDS = {"trace_id", "span_id", "parent_span_id"}


class View:
    """Base of the classes made by `view_of`: attributes named as in the .proto file, absent ones at their default."""

    _fields: ClassVar[dict[str, tuple[str, _Convert]]]
    _oneofs: ClassVar[dict[str, frozenset[str]]]

    def HasField(self, name: str) -> bool:
        """Tell whether the field was given, as on a protobuf message."""
        return name in self.__dict__

    def WhichOneof(self, name: str) -> str | None:
        """Return the given field of a oneof, the last one if there are several, as on a protobuf message."""
        members = self._oneofs[name]
        return next((field for field in reversed(self.__dict__) if field in members), None)


@cache
def view_of(descriptor: Descriptor) -> Callable[[object], Any]:
    """Return the function that makes a view of this message from a parsed JSON object; it raises Malformed."""
    kind = _class_of(descriptor)
    fields, name = kind._fields, descriptor.name

    def view(value: object) -> View:
        if not isinstance(value, dict):
            raise Malformed(f"{name}: expected an object")
        made = kind()
        given = made.__dict__
        for key, inner in value.items():
            field = fields.get(key)
            if field is not None and inner is not None:
                try:
                    given[field[0]] = field[1](inner)
                except Malformed as error:
                    raise Malformed(f"{key}: {error}") from None
        return made

    return view


@cache
def _class_of(descriptor: Descriptor) -> type[View]:
    fields: dict[str, tuple[str, _Convert]] = {}
    members: dict[str, Any] = {}
    for field in descriptor.fields:
        convert, default = _conversion(field)
        members[field.name] = default
        fields[field.json_name] = fields[field.name] = (field.name, convert)
    oneofs = {oneof.name: frozenset(field.name for field in oneof.fields) for oneof in descriptor.oneofs}
    return type(descriptor.name, (View,), members | {"_fields": fields, "_oneofs": oneofs})


def _conversion(field: FieldDescriptor) -> tuple[_Convert, Any]:
    if field.message_type is not None and field.message_type.name == "KeyValue":
        return json_pairs_of, ([], [])
    convert, default = _scalar(field)
    if not field.is_repeated:
        return convert, default

    def convert_all(value: object) -> list[Any]:
        if not isinstance(value, list):
            raise Malformed("expected an array")
        return [convert(item) for item in value]

    return convert_all, ()


def _scalar(field: FieldDescriptor) -> tuple[_Convert, Any]:
    if field.message_type is not None:
        if field.message_type.name == "AnyValue":
            return json_text_of, "null"
        return view_of(field.message_type), _class_of(field.message_type)()
    if field.enum_type is not None:
        return _enum({value.name: value.number for value in field.enum_type.values}), 0
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _text, ""
        case FieldDescriptor.TYPE_BYTES:
            return (_id if field.name in _IDS else from_base64), b""
        case FieldDescriptor.TYPE_BOOL:
            return _boolean, False
        case FieldDescriptor.TYPE_DOUBLE:
            return double, 0.0
        case FieldDescriptor.TYPE_UINT64 | FieldDescriptor.TYPE_FIXED64:
            return _unsigned, 0
    return int64, 0


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed("expected a string")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise Malformed("expected true or false")
    return value


def _id(value: object) -> bytes:
    """Return the bytes of a hex id; what is not hex becomes one byte, an id of the wrong length."""
    try:
        return bytes.fromhex(_text(value))
    except ValueError as error:
        if isinstance(error, Malformed):
            raise
        return b"\0"


def _unsigned(value: object) -> int:
    if isinstance(value, str) and value.isdigit() and value.isascii() and len(value) <= 20:
        number = int(value)
        if number < 2**64:
            return number
    if isinstance(value, int) and 2**63 <= value < 2**64:
        return value
    number = int64(value)
    if number < 0:
        raise Malformed("expected an integer that is not negative")
    return number


def _enum(numbers: dict[str, int]) -> _Convert:
    def convert(value: object) -> int:
        if isinstance(value, str) and not value.removeprefix("-").isdigit():
            return numbers.get(value, 0)
        number = int64(value)
        if not -(2**31) <= number < 2**31:
            raise Malformed("expected an enum number of 32 bits")
        return number

    return convert
