"""Zipkin v2 JSON: arrays of spans (its API, its UI's download), or a span a line.

A client and a server may report the same span id (Zipkin's shared spans). Both rows keep that id, their kinds and the
parent that they name; linking takes them as the two sides of one call. The remote endpoint of a caller becomes
``peer.service`` and ``network.peer.address``; of a server it is the caller, kept as ``client.address``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..batch import Batch
from ..source import Source
from ..span_rows import Row, gather, kind_and_status, micros, scalar_text

NAME: Final = "zipkin-json"
_KINDS: Final = {"SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_DEEPEST: Final = 3
_ANY_OF: Final = (b'"localEndpoint"', b'"remoteEndpoint"', b'"parentId"', b'"annotations"', b'"timestamp"')


def matches(head: bytes, file_name: str) -> bool:
    """Tell by ``traceId`` and ``id`` beside a key that OTLP and Jaeger do not have."""
    is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    return is_json and b'"traceId"' in head and b'"id"' in head and any(key in head for key in _ANY_OF)


def read(source: Source) -> Iterator[Batch]:
    """Yield the spans; one that is malformed is dropped with its place."""
    return gather(source, (), _spans, _row)


def _spans(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the spans of a span, of a trace, or of traces (``/api/v2/traces``)."""
    if isinstance(value, list) and depth < _DEEPEST:
        for item in value:
            yield from _spans(item, depth + 1)
    else:
        yield value


def _row(span: Mapping[str, Any]) -> Row:
    attributes = {str(key): scalar_text(value) for key, value in (span.get("tags") or {}).items()}
    kind = _KINDS.get(str(span.get("kind")).upper(), 0)
    attributes |= _remote(span.get("remoteEndpoint") or {}, kind)
    for mark in ("debug", "shared"):
        if span.get(mark):
            attributes[f"zipkin.{mark}"] = "true"
    # The tag "error" marks a failure whatever its text, even an empty one.
    failed = "error" in attributes and attributes["error"] != '"false"'
    message = (span.get("tags") or {}).get("error")
    annotations = span.get("annotations") or []
    start, duration = span.get("timestamp"), span.get("duration")
    is_late = not start and bool(annotations)
    if is_late:
        start = min(int(one["timestamp"]) for one in annotations)
    local = span.get("localEndpoint") or {}
    resource = {"service.name": scalar_text(local["serviceName"])} if local.get("serviceName") else {}
    if address := local.get("ipv4") or local.get("ipv6"):
        resource["net.host.ip"] = scalar_text(address)
    return Row(
        trace_id=_id(span["traceId"]),
        span_id=_id(span["id"]),
        parent_span_id=_id(span.get("parentId") or ""),
        name=str(span.get("name") or ""),
        kind=kind or kind_and_status(attributes)[0],
        status=2 if failed else 0,
        status_message=str(message) if failed and message else None,
        start_ns=int(start) * 1000 if start else None,
        duration_ns=None if duration is None else int(duration) * 1000,
        attributes=attributes,
        resource=resource,
        events=[
            {"time_ns": micros(one["timestamp"]), "name": str(one.get("value")), "attributes": {}}
            for one in annotations
        ],
        repairs=("start taken from the first annotation",) if is_late else (),
    )


def _remote(endpoint: Mapping[str, Any], kind: int) -> dict[str, str]:
    address = endpoint.get("ipv4") or endpoint.get("ipv6")
    service = endpoint.get("serviceName")
    if kind == _KINDS["SERVER"]:
        caller = service or address
        return {"client.address": scalar_text(caller)} if caller else {}
    found = {"peer.service": service, "network.peer.address": address, "network.peer.port": endpoint.get("port")}
    return {name: scalar_text(value) for name, value in found.items() if value}


def _id(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("an id is text")
    return value
