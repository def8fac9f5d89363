"""Spans of SkyWalking as CSV: the fields of its query API, in camel or snake case, times in milliseconds.

A span is numbered within its segment; its id here is ``<segment id>.<span id>``. The parent is the span before it in
the segment, else the one that the segment's reference names (``refs`` as JSON, or the columns ``parentSegmentId`` and
``refParentSpanId``). Entry spans are servers and Exit spans clients; of messaging (layer MQ) consumers and producers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from ..batch import Batch
from ..delimited import header_of, read_header, read_rows
from ..otlp.batches import evened
from ..source import Source
from ..span_rows import Row, scalar_text, to_batch

NAME: Final = "skywalking-csv"
_REQUIRED: Final = {"traceid", "segmentid", "spanid", "starttime", "endtime"}
_KINDS: Final = {"entry": 2, "exit": 3, "local": 1}
_MESSAGING: Final = {2: 5, 3: 4}


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the columns of the header."""
    return {_plain(name) for name in header_of(head)} >= _REQUIRED


def read(source: Source) -> Iterator[Batch]:
    """Yield the spans; a row that is malformed is dropped with its place."""
    return evened(_batches(source))


def _batches(source: Source) -> Iterator[Batch]:
    header = [_plain(name) for name in read_header(source)]
    for rows in read_rows(source, header):
        found: list[Row] = []
        places: list[str] = []
        for number, record in enumerate(rows.table.to_pylist(), rows.first):
            place = f"{source.name}: row {number}"
            try:
                found.append(_row(record))
                places.append(place)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                rows.tally.drop("malformed span", f"{place}: {type(error).__name__}: {str(error)[:100]}")
        yield to_batch(found, places, source.name, rows.tally)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _row(record: Mapping[str, Any]) -> Row:
    segment = record["segmentid"]
    start, end = int(record["starttime"]), int(record["endtime"])
    kind = _KINDS.get(str(record.get("type") or record.get("spantype")).lower(), 0)
    if str(record.get("layer")).upper() == "MQ":
        kind = _MESSAGING.get(kind, kind)
    attributes = {key: scalar_text(record[key]) for key in ("component", "layer") if record.get(key)}
    if peer := record.get("peer"):
        attributes["server.address" if kind in (3, 4) else "client.address"] = scalar_text(peer)
    service = record.get("servicecode") or record.get("servicename") or record.get("service")
    instance = record.get("serviceinstancename") or record.get("serviceinstance")
    resource = {"service.name": service, "service.instance.id": instance}
    return Row(
        trace_id=record["traceid"],
        span_id=segment and f"{segment}.{int(record['spanid'])}",
        parent_span_id=_parent(record, segment),
        name=str(record.get("endpointname") or record.get("operationname") or ""),
        kind=kind,
        status=2 if str(record.get("iserror")).lower() in ("1", "true") else 0,
        start_ns=start * 10**6,
        duration_ns=(end - start) * 10**6,
        attributes=attributes,
        resource={key: scalar_text(value) for key, value in resource.items() if value},
    )


def _parent(record: Mapping[str, Any], segment: str) -> str | None:
    before = record.get("parentspanid")
    if before is not None and int(before) >= 0:
        return f"{segment}.{int(before)}"
    refs = orjson.loads(record["refs"]) if record.get("refs") else []
    ref = {_plain(key): value for key, value in refs[0].items()} if refs else record
    other, span = ref.get("parentsegmentid"), ref.get("parentspanid") if refs else record.get("refparentspanid")
    return f"{other}.{int(span)}" if other and span is not None else None
