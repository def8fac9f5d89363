"""Jaeger's JSON: the answer of its query API and "Download" of its UI, a trace alone, or documents of Elasticsearch.

A span's parent is its first CHILD_OF reference into the same trace, else its first FOLLOWS_FROM; the other references
are links. Warnings become the attribute ``jaeger.warnings``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from ..batch import Batch
from ..otlp.any_value import plain_double
from ..source import Source
from ..span_rows import Row, gather, kind_and_status, micros, scalar_text

NAME: Final = "jaeger-json"
_DEEPEST: Final = 5
_KEYS: Final = (b'"operationName"', b'"startTime"', b'"spanID"', b'"traceID"')


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the keys that every span has."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") and all(key in head for key in _KEYS)


def read(source: Source) -> Iterator[Batch]:
    """Yield the spans; one that lacks what every span has is dropped with its place."""
    return gather(source, ("data",), _spans, lambda pair: _row(*pair))


def _spans(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield each span with its process, which stands in it, in its trace, or in the whole answer."""
    if isinstance(value, list) and depth < _DEEPEST:
        for item in value:
            yield from _spans(item, depth + 1)
    elif not isinstance(value, dict) or depth >= _DEEPEST:
        yield value, {}
    elif isinstance(value.get("data"), list):
        yield from _spans(value["data"], depth + 1)
    elif isinstance(value.get("spans"), list):
        processes = value.get("processes")
        for span in value["spans"]:
            named = span.get("processID") if isinstance(span, dict) else None
            found = processes.get(named) if isinstance(processes, dict) and isinstance(named, str) else None
            yield span, span.get("process", found) if isinstance(span, dict) else found
    elif isinstance(value.get("_source"), dict):
        yield from _spans(value["_source"], depth + 1)
    else:
        yield value, value.get("process")


def _row(span: Mapping[str, Any], process: Mapping[str, Any] | None) -> Row:
    tags = tags_of(span.get("tags"))
    trace_id = _id(span["traceID"])
    parent, links = parent_and_links(
        trace_id,
        [(ref["refType"], _id(ref["traceID"]), _id(ref["spanID"])) for ref in span.get("references") or ()],
    )
    if warnings := span.get("warnings"):
        tags["jaeger.warnings"] = scalar_text(warnings)
    owner = process or {}
    resource = tags_of(owner.get("tags"))
    if service := owner.get("serviceName"):
        resource["service.name"] = scalar_text(str(service))
    kind, status, message = kind_and_status(tags)
    return Row(
        trace_id=trace_id,
        span_id=_id(span["spanID"]),
        parent_span_id=parent or _id(span.get("parentSpanID") or ""),
        name=str(span.get("operationName") or ""),
        kind=kind,
        status=status,
        status_message=message,
        start_ns=int(span["startTime"]) * 1000,
        duration_ns=int(span["duration"]) * 1000 if span.get("duration") is not None else None,
        attributes=tags,
        resource=resource,
        scope=_scope(tags),
        events=[_event(log) for log in span.get("logs") or ()],
        links=links,
    )


def parent_and_links(trace_id: str, references: list[tuple[str, str, str]]) -> tuple[str | None, list[tuple[str, str]]]:
    """Return the parent's span id and the links among references (type, trace id, span id), as Jaeger decides it."""
    own = [place for place, (_, trace, span) in enumerate(references) if trace == trace_id and span]
    child_of = [place for place in own if references[place][0] == "CHILD_OF"]
    at = next(iter(child_of or own), None)
    links = [(trace, span) for place, (_, trace, span) in enumerate(references) if place != at]
    return None if at is None else references[at][2], links


def tags_of(tags: Any) -> dict[str, str]:
    """Return Jaeger's tags, a list of {key, type, value}, as JSON text by key; of equal keys the last one counts."""
    return {str(tag["key"]): _tag(tag.get("type"), tag.get("value")) for tag in tags or ()}


def _tag(kind: object, value: Any) -> str:
    match kind:
        case "int64":
            return str(int(value))
        case "float64":
            return scalar_text(plain_double(float(value)))
        case "bool":
            return "true" if value is True or value == "true" else "false"
        case "binary":
            return scalar_text({"bytesValue": value})
    return scalar_text(value)


def _event(log: Mapping[str, Any]) -> dict[str, object]:
    fields = tags_of(log.get("fields"))
    name = fields.pop("event", '""')
    plain = {key: orjson.Fragment(text) for key, text in fields.items()}
    return {"time_ns": micros(log["timestamp"]), "name": orjson.loads(name), "attributes": plain}


def _scope(tags: Mapping[str, str]) -> str | None:
    text = tags.get("otel.scope.name") or tags.get("otel.library.name")
    return None if text is None else str(orjson.loads(text))


def _id(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("an id is text")
    return value
