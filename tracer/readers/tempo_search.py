"""Answers of Tempo's search: traces with the spans that matched, which tell neither their parents nor their kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from ..batch import Batch
from ..otlp.any_value import json_pairs_of
from ..source import Source
from ..span_rows import KINDS, Row, gather

NAME: Final = "tempo-search"
_STATUS: Final = {"ok": 1, "error": 2}


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the sets of spans that only a search has."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return text[:1] == b"{" and (b'"spanSet"' in head or b'"spanSets"' in head) and b'"traceID"' in head


def read(source: Source) -> Iterator[Batch]:
    """Yield the spans that matched, each as a root; one that is malformed is dropped with its place."""
    return gather(source, ("traces",), _spans, lambda pair: _row(*pair))


def _spans(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each span with its trace. Newer versions answer with ``spanSets`` beside the first of them."""
    listed = value.get("traces") if isinstance(value, dict) else None
    for trace in listed if isinstance(listed, list) else [value]:
        sets = (trace.get("spanSets") or [trace.get("spanSet")]) if isinstance(trace, dict) else [None]
        for one in sets if isinstance(sets, list) else [sets]:
            spans = one.get("spans") if isinstance(one, dict) else None
            for span in spans if isinstance(spans, list) else [one]:
                yield trace, span


def _row(trace: Mapping[str, Any], span: Mapping[str, Any]) -> Row:
    attributes = dict(zip(*json_pairs_of(span.get("attributes") or []), strict=True))
    plain = {key: str(orjson.loads(attributes[key])) for key in ("kind", "status") if key in attributes}
    service = attributes.pop("service.name", None)
    return Row(
        trace_id=str(trace["traceID"]),
        span_id=str(span["spanID"]),
        parent_span_id=None,
        name=str(span.get("name") or ""),
        kind=KINDS.get(plain.get("kind", ""), 0),
        status=_STATUS.get(plain.get("status", ""), 0),
        start_ns=int(span["startTimeUnixNano"]),
        duration_ns=int(span["durationNanos"]),
        attributes=attributes,
        resource={} if service is None else {"service.name": service},
        repairs=("parent not told by a search",),
    )
