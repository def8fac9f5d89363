"""Spans of formats other than OTLP, gathered row by row and finished column by column into the table of spans.

Ids are hex of any length: trace ids are padded with zeros to 32 digits, span ids to 16, so that a 64-bit id equals the
same id written by another system; an id that is not hex stays as it is. Beside the attribute names of OpenTelemetry
those of OpenTracing, which Jaeger and Zipkin carry, fill the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.semconv import RESOURCE_ATTRIBUTES, SPAN_ATTRIBUTES

from .batch import Batch, Tally, table_of
from .delimited import all_valid
from .garbage import collection_paused
from .json_items import Items, read_items
from .otlp.attributes import Attributes, offsets_of
from .otlp.batches import evened
from .rpc_status import RPC_STATUS, with_rpc_status
from .schema import LINKS, SPANS
from .source import Source

Part = TypeVar("Part")
TRACE_ID_DIGITS: Final = 32
SPAN_ID_DIGITS: Final = 16
_LONGEST_NS: Final = 2**62
_OPENTRACING: Final = {
    "peer_service": ("peer.service",),
    "peer_address": ("peer.hostname", "peer.address", "peer.ipv4", "peer.ipv6"),
    "db_system": ("db.type",),
    "db_name": ("db.instance",),
    "messaging_destination": ("message_bus.destination",),
}
KINDS: Final = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}


@dataclass(slots=True)
class Row:
    """A span as its format says it; times in nanoseconds, attributes by name with JSON text as value."""

    trace_id: str | None
    span_id: str | None
    parent_span_id: str | None
    name: str
    kind: int
    status: int
    start_ns: int | None
    duration_ns: int | None
    attributes: dict[str, str]
    resource: dict[str, str]
    status_message: str | None = None
    scope: str | None = None
    events: list[dict[str, object]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    repairs: tuple[str, ...] = ()


def gather(
    source: Source, arrays: Collection[str], parts: Callable[[Any], Iterator[Part]], row: Callable[[Part], Row]
) -> Iterator[Batch]:
    """Yield the spans of a JSON source in batches of at most 65,536 rows.

    Each of its items (`json_items.read_items`) is taken apart by ``parts``, each part is made a row by ``row``; one
    that is not of the form that ``row`` expects is dropped with its place.
    """

    def batches() -> Iterator[Batch]:
        for items in read_items(source, arrays):
            yield batch_of(items)

    @collection_paused()
    def batch_of(items: Items) -> Batch:
        rows: list[Row] = []
        places: list[str] = []
        for value, place in items:
            for part in parts(value):
                try:
                    rows.append(row(part))
                    places.append(place)
                except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                    items.tally.drop("malformed span", f"{place}: {type(error).__name__}: {str(error)[:100]}")
        return to_batch(rows, places, source.name, items.tally)

    return evened(batches())


def to_batch(rows: list[Row], places: list[str], source: str, tally: Tally) -> Batch:
    """Return the spans of ``rows``; ``places`` say where each row stands. Drops and repairs are counted."""
    trace_id = padded([row.trace_id for row in rows], TRACE_ID_DIGITS)
    span_id = padded([row.span_id for row in rows], SPAN_ID_DIGITS)
    kept = np.ones(len(rows), bool)
    for reason, wrong in (
        ("span without a trace id", pc.is_null(trace_id).to_numpy(zero_copy_only=False)),
        ("span without a span id", pc.is_null(span_id).to_numpy(zero_copy_only=False)),
        ("span without a start time", np.array([not _fits(row.start_ns) for row in rows], bool)),
    ):
        lost = kept & wrong
        if lost.any():
            tally.drop(reason, places[int(lost.argmax())], int(lost.sum()))
            kept &= ~wrong
    rows = [row for row, is_kept in zip(rows, kept.tolist(), strict=True) if is_kept]
    if not rows:
        return Batch({"spans": SPANS.empty_table()}, tally)
    attributes = Attributes.of([(list(row.attributes), list(row.attributes.values())) for row in rows])
    # Few resources serve many spans.
    dumped = [orjson.dumps(row.resource) for row in rows]
    texts = {text: row.resource for text, row in zip(dumped, rows, strict=True)}
    numbers = {text: number for number, text in enumerate(texts)}
    resources = Attributes.of([(list(r), list(r.values())) for r in texts.values()])
    owner = pa.array([numbers[text] for text in dumped], pa.int32())
    columns: dict[str, Any] = {name: resources.pick(keys).take(owner) for name, keys in RESOURCE_ATTRIBUTES.items()}
    columns |= {name: attributes.pick((*keys, *_OPENTRACING.get(name, ()))) for name, keys in SPAN_ATTRIBUTES.items()}
    durations = [row.duration_ns for row in rows]
    for repair in (repair for row in rows for repair in row.repairs):
        tally.repair(repair)
    tally.repair("end before start", sum(one is not None and one < 0 for one in durations))
    tally.repair("duration missing", sum(one is None for one in durations))
    tally.repair("service.name missing", columns["service"].null_count)
    columns |= {
        "trace_id": trace_id.filter(pa.array(kept)),
        "span_id": span_id.filter(pa.array(kept)),
        "parent_span_id": padded([row.parent_span_id for row in rows], SPAN_ID_DIGITS),
        "name": [row.name for row in rows],
        "kind": [row.kind for row in rows],
        "status": [row.status for row in rows],
        "status_message": [row.status_message for row in rows],
        "start_ns": [row.start_ns for row in rows],
        "duration_ns": [min(max(one or 0, 0), _LONGEST_NS) for one in durations],
        "http_status": _status_code(columns["http_status"]),
        "error_type": with_rpc_status(
            columns["error_type"], attributes.pick(RPC_STATUS), pa.array([row.kind for row in rows])
        ),
        "scope": [row.scope for row in rows],
        "adjusted_milli": 1000,
        "attributes": attributes.to_maps(),
        "resource": resources.to_maps().take(owner),
        "events": [orjson.dumps(row.events).decode() if row.events else None for row in rows],
        "links": _links(rows),
        "source": source,
    }
    tally.accepted["spans"] += len(rows)
    return Batch({"spans": table_of(SPANS, columns, len(rows))}, tally)


def padded(ids: list[str | None], digits: int) -> pa.Array:
    """Return hex ids in lower case with zeros before them; null for zero and none, other text as it is.

    >>> padded(["A1", "0", None, "span-7"], 4).to_pylist()
    ['00a1', None, None, 'span-7']
    """
    texts = pa.array(ids, pa.string())
    is_hex = pc.match_substring_regex(texts, f"^[0-9a-fA-F]{{1,{digits}}}$")
    whole = pc.if_else(is_hex, pc.utf8_lpad(pc.utf8_lower(texts), digits, "0"), texts)
    return pc.if_else(pc.match_substring_regex(whole, "^0*$"), None, whole)


def micros(value: Any) -> int:
    """Return microseconds as nanoseconds; ValueError for what is no time."""
    time_ns = int(value) * 1000
    if not 0 <= time_ns <= _LONGEST_NS:
        raise ValueError("expected microseconds since the epoch")
    return time_ns


def scalar_text(value: object) -> str:
    """Return the JSON text of a tag's value."""
    return orjson.dumps(value).decode()


def kind_and_status(tags: Mapping[str, str]) -> tuple[int, int, str | None]:
    """Return kind, status and message as the tags of OpenTracing and of OpenTelemetry's translation say them."""
    kind = KINDS.get(tags.get("span.kind", "").strip('"').lower(), 0)
    code = tags.get("otel.status_code", "").strip('"').upper()
    failed = code == "ERROR" or (
        not code and tags.get("error", "false").strip('"').lower() not in ("false", "", "null")
    )
    message = tags.get("otel.status_description")
    return kind, 2 if failed else int(code == "OK"), None if message is None else _text(message)


def _text(json_text: str) -> str:
    value = orjson.loads(json_text)
    return value if isinstance(value, str) else json_text


def _fits(number: int | None) -> bool:
    return number is not None and 0 <= number <= _LONGEST_NS


def _links(rows: list[Row]) -> pa.Array:
    """Return the links of each row; one without ids is left out, as a reference to nothing."""
    pairs = [(number, *link) for number, row in enumerate(rows) for link in row.links]
    owners, traces, spans = zip(*pairs, strict=True) if pairs else ((), (), ())
    trace_ids, span_ids = padded(list(traces), TRACE_ID_DIGITS), padded(list(spans), SPAN_ID_DIGITS)
    valid = all_valid(trace_ids, span_ids)
    counts = np.bincount(np.array(owners, "i8")[np.asarray(valid, bool)], minlength=len(rows))
    ids = [trace_ids.filter(valid), span_ids.filter(valid)]
    return pa.ListArray.from_arrays(
        pa.array(offsets_of(counts), pa.int32()), pa.StructArray.from_arrays(ids, fields=list(LINKS.value_type))
    ).cast(LINKS)


def _status_code(texts: pa.Array) -> pa.Array:
    is_code = pc.match_substring_regex(texts, r"^[0-9]{1,9}$")
    return pc.if_else(is_code, texts, pa.scalar(None, pa.string())).cast(pa.int32())
