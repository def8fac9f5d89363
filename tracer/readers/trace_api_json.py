"""OTLP traces as query APIs wrap them: Tempo's ``batches`` or ``trace``, Jaeger's ``result``; ids may be base64."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from ..batch import Batch, Tally, concat
from ..garbage import collection_paused
from ..json_items import Items, read_items
from ..otlp.any_value import Malformed, from_base64
from ..otlp.batches import decode_each, evened
from ..otlp.decode import decode_json
from ..source import Source

NAME: Final = "trace-api-json"
_WRAPPERS: Final = ("batches", "trace", "traces", "result", "data")
_DEEPEST: Final = 6
_SPANS: Final = ("scopeSpans", "instrumentationLibrarySpans", "ilSpans", "scope_spans")
_ID_KEYS: Final = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{32})?")
_BEGIN: Final = re.compile(rb"\s*\{\s*\"(?:" + "|".join(_WRAPPERS).encode() + rb')"\s*:')


def matches(head: bytes, file_name: str) -> bool:
    """Tell by a wrapper as first key, and spans of OTLP inside."""
    text = head.removeprefix(b"\xef\xbb\xbf")
    return bool(_BEGIN.match(text)) and any(f'"{key}"'.encode() in head for key in (*_SPANS, "resourceSpans"))


def read(source: Source) -> Iterator[Batch]:
    """Yield the spans; a resource whose spans are malformed is dropped with its place."""
    return evened(_batch(items, source.name) for items in read_items(source, ("batches", "data")))


@collection_paused()
def _batch(items: Items, name: str) -> Batch:
    requests: list[tuple[str, object]] = []
    for value, place in items:
        found = list(_resource_spans(value))
        if not found:
            items.tally.drop("JSON value without OTLP spans", place)
        requests += [(place, {"resourceSpans": [one]}) for one in found]
    tally = Tally()
    decode = partial(decode_json, "traces", source=name)
    parts = list(decode_each(decode, requests, tally)) if requests else []
    return concat([Batch(tally=items.tally), *parts, Batch(tally=tally)])


def _resource_spans(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value:
            yield from _resource_spans(item, depth + 1)
    elif isinstance(value, dict):
        scopes = next((value[key] for key in _SPANS if isinstance(value.get(key), list)), None)
        if scopes is not None:
            yield {**value, "scopeSpans": [_with_hex_ids(scope) for scope in scopes]}
            return
        for key in (*_WRAPPERS, "resourceSpans", "resource_spans"):
            yield from _resource_spans(value.get(key), depth + 1)


def _with_hex_ids(value: Any) -> Any:
    """Return a scope with the ids of its spans and links in hex; what is no id of either form stays as it is."""
    if not isinstance(value, dict):
        return value
    found = {key: _hex(inner) if key in _ID_KEYS else inner for key, inner in value.items()}
    for key in ("spans", "links"):
        if isinstance(found.get(key), list):
            found[key] = [_with_hex_ids(inner) for inner in found[key]]
    return found


def _hex(value: Any) -> Any:
    if not isinstance(value, str) or _HEX.fullmatch(value):
        return value
    try:
        return from_base64(value).hex()
    except Malformed:
        return value
