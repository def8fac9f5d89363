"""AnyValue, the dynamic type of OTLP attributes, to JSON text that keeps every value apart, and back.

Strings, integers, doubles, booleans, arrays and maps are the JSON value of that type (``1``, ``1.0``, ``"1"`` and
``true`` differ), an unset value is ``null``. What JSON cannot say is an object with one key, named as in OTLP/JSON:
``{"bytesValue": base64}``, ``{"doubleValue": "NaN"}`` (also ``Infinity``, ``-Infinity``), and
``{"kvlistValue": [[key, value], ...]}`` for a map that repeats a key or would look like one of these three.
"""

from __future__ import annotations

import base64
import binascii
import math
from json.encoder import encode_basestring  # quotes as orjson does, without a detour through bytes
from typing import Any, Final

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

# Below the 100 nested messages where protobuf itself refuses a request, so that every route refuses alike.
MAX_DEPTH: Final = 30
_MARKS: Final = ("bytesValue", "doubleValue", "kvlistValue")
_INT64: Final = range(-(2**63), 2**63)
_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Pairs = tuple[list[str], list[str]]  # keys and, in the same order, the JSON text of each value


class Malformed(ValueError):
    """A request breaks the protocol; the message says what was expected. It becomes a DecodeError with the source."""


def text_of(value: Any) -> str:
    """Return the JSON text of an AnyValue message; text of a view of OTLP/JSON is there already."""
    if isinstance(value, str):
        return value
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return encode_basestring(value.string_value)
    if kind == "int_value":
        return str(value.int_value)
    return orjson.dumps(_plain(value, 1)).decode()


def pairs_of(attributes: Any) -> Pairs:
    """Return keys and JSON texts of a repeated KeyValue; a view of OTLP/JSON has them already."""
    if isinstance(attributes, tuple):
        return attributes
    keys: list[str] = []
    texts: list[str] = []
    for pair in attributes:
        keys.append(pair.key)
        value = pair.value
        # Nearly all values are strings, and only a string value is not empty.
        text = value.string_value
        texts.append(encode_basestring(text) if text else text_of(value))
    return keys, texts


def json_text_of(value: object) -> str:
    """Return the JSON text of an AnyValue in OTLP/JSON form (``{"intValue": "1"}``)."""
    return orjson.dumps(_plain_json(value, 1)).decode()


def json_pairs_of(attributes: object) -> Pairs:
    """Return keys and JSON texts of a list of KeyValue in OTLP/JSON form."""
    if not isinstance(attributes, list):
        raise Malformed("attributes: expected an array")
    keys: list[str] = []
    texts: list[str] = []
    for pair in attributes:
        if not isinstance(pair, dict):
            raise Malformed("attributes: expected objects with key and value")
        key, value = pair.get("key", ""), pair.get("value")
        if not isinstance(key, str):
            raise Malformed("attributes: expected a string as key")
        keys.append(key)
        only = value if isinstance(value, dict) and len(value) == 1 else {}
        if isinstance(text := only.get("stringValue"), str):
            texts.append(encode_basestring(text))
        elif (number := only.get("intValue")) is not None:
            texts.append(str(int64(number)))
        else:
            texts.append(json_text_of(value))
    return keys, texts


def plain_double(number: float) -> object:
    """Return a double as JSON can say it."""
    return number if math.isfinite(number) else {"doubleValue": not_finite(number)}


def not_finite(number: float) -> str:
    """Return the name that protobuf JSON has for a double that is no finite number."""
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def int64(value: object) -> int:
    """Return a 64-bit integer of protobuf JSON: a number or decimal text. Malformed outside of 64 bits."""
    number = None
    if isinstance(value, str):
        if value.isascii() and value.removeprefix("-").isdigit() and len(value) <= 20:
            number = int(value)
    elif isinstance(value, float):
        if value.is_integer() and abs(value) <= 2**53:
            number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    if number is None:
        raise Malformed("expected a 64-bit integer")
    if number not in _INT64:
        raise Malformed("expected an integer of at most 64 bits")
    return number


def double(value: object) -> float:
    """Return a double of protobuf JSON: a number, decimal text, NaN, Infinity or -Infinity."""
    if isinstance(value, str):
        if value in _NOT_FINITE:
            return _NOT_FINITE[value]
        try:
            number = float(value)
        except ValueError:
            raise Malformed("expected a number") from None
        if not math.isfinite(number):
            raise Malformed("expected a finite number, NaN, Infinity or -Infinity")
        return number
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise Malformed("expected a number")


def from_base64(value: object) -> bytes:
    """Return bytes of protobuf JSON: base64 of either alphabet, padded or not."""
    if not isinstance(value, str):
        raise Malformed("expected base64 text")
    text = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("expected base64 text") from None


def _plain(value: Any, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise Malformed(f"a value is nested more than {MAX_DEPTH} deep")
    match value.WhichOneof("value"):
        case "double_value":
            return plain_double(value.double_value)
        case "bytes_value":
            return _bytes_mark(value.bytes_value)
        case "array_value":
            return [_plain(item, depth + 1) for item in value.array_value.values]
        case "kvlist_value":
            return _plain_map([(pair.key, _plain(pair.value, depth + 1)) for pair in value.kvlist_value.values])
        case "string_value" | "int_value" | "bool_value" as kind:
            return getattr(value, kind)
    return None  # unset, or an index into a dictionary that only profiles have


def _plain_json(value: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise Malformed(f"a value is nested more than {MAX_DEPTH} deep")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Malformed('expected an object such as {"stringValue": ...}')
    result: object = None
    for name, inner in value.items():
        if inner is None:
            continue
        match name:
            case "stringValue" | "string_value":
                result = _of_type(inner, str, "a string")
            case "boolValue" | "bool_value":
                result = _of_type(inner, bool, "true or false")
            case "intValue" | "int_value":
                result = int64(inner)
            case "doubleValue" | "double_value":
                result = plain_double(double(inner))
            case "bytesValue" | "bytes_value":
                result = _bytes_mark(from_base64(inner))
            case "arrayValue" | "array_value":
                result = [_plain_json(item, depth + 1) for item in _values(inner)]
            case "kvlistValue" | "kvlist_value":
                pairs = [_of_type(pair, dict, "an object with key and value") for pair in _values(inner)]
                keys = [_of_type(pair.get("key", ""), str, "a string as key") for pair in pairs]
                inside = [_plain_json(pair.get("value"), depth + 1) for pair in pairs]
                result = _plain_map(list(zip(keys, inside, strict=True)))
    return result


def _of_type(value: Any, kind: type, expected: str) -> Any:
    if not isinstance(value, kind):
        raise Malformed(f"expected {expected}")
    return value


def _values(inner: object) -> Any:
    values = _of_type(inner, dict, "an object with values").get("values")
    return _of_type([] if values is None else values, list, "an array of values")


def _bytes_mark(value: bytes) -> dict[str, str]:
    return {"bytesValue": base64.b64encode(value).decode()}


def _plain_map(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs) or (len(result) == 1 and pairs[0][0] in _MARKS):
        return {"kvlistValue": [list(pair) for pair in pairs]}
    return result


def fill(message: AnyValue, plain: Any) -> None:
    """Set ``message`` to the value that the parsed JSON text of an attribute stands for; inverse of `text_of`."""
    match plain:
        case None:
            pass
        case bool():
            message.bool_value = plain
        case int():
            message.int_value = plain
        case float():
            message.double_value = plain
        case str():
            message.string_value = plain
        case list():
            message.array_value.SetInParent()
            for item in plain:
                fill(message.array_value.values.add(), item)
        case {"bytesValue": str(text), **rest} if not rest:
            message.bytes_value = base64.b64decode(text)
        case {"doubleValue": str(name), **rest} if not rest and name in _NOT_FINITE:
            message.double_value = _NOT_FINITE[name]
        case _:
            repeated = list(plain) == ["kvlistValue"] and isinstance(plain["kvlistValue"], list)
            message.kvlist_value.SetInParent()
            for key, inner in plain["kvlistValue"] if repeated else plain.items():
                fill(message.kvlist_value.values.add(key=key).value, inner)
