"""ExportTraceServiceRequest to the spans table: gathered from messages in a few lists, then finished column by column.

Not kept, since no column has room: version and attributes of the scope, attributes and trace state of links, other
members of the trace state, flags, counts of what the client dropped, schema URLs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.semconv import KIND_CONSUMER, RESOURCE_ATTRIBUTES, SPAN_ATTRIBUTES, STATUS_ERROR

from ..batch import Tally
from ..rpc_status import RPC_STATUS, with_rpc_status
from ..schema import LINKS, SPANS
from .any_value import Pairs, pairs_of
from .attributes import Attributes, offsets_of, quoted
from .ids import SPAN_ID_BYTES, TRACE_ID_BYTES, adjusted_milli, to_hex
from .size import refuse_absurd_size

_LAST_TIME_NS: Final = 2**63 - 1

FIELDS: Final = pa.schema(
    [
        ("trace_id", pa.binary()),
        ("span_id", pa.binary()),
        ("parent_span_id", pa.binary()),
        ("name", pa.string()),
        ("kind", pa.int32()),
        ("status", pa.int32()),
        ("status_message", pa.string()),
        ("start", pa.uint64()),
        ("end", pa.uint64()),
        ("trace_state", pa.string()),
        ("resource", pa.int32()),  # row of RawSpans.resources
        ("scope", pa.int32()),  # row of RawSpans.scopes
    ]
)


@dataclass(frozen=True, slots=True)
class RawSpans:
    """Spans as a request holds them, flattened: what each route of decoding yields and `finish` makes a table of."""

    fields: pa.Table  # FIELDS; one row a span
    attributes: Attributes
    resources: Attributes  # one owner a resource
    scopes: pa.StringArray  # names
    event_offsets: np.ndarray  # events of span i: event_offsets[i] to [i + 1]
    event_times: pa.Array  # uint64
    event_names: pa.StringArray
    event_attributes: Attributes
    link_offsets: np.ndarray
    link_trace_ids: pa.BinaryArray
    link_span_ids: pa.BinaryArray


def gather(requests: Iterable[Any]) -> RawSpans:
    """Return the spans of request messages, or of views of OTLP/JSON requests."""
    rows: list[tuple[Any, ...]] = []
    attributes: list[Pairs] = []
    resources: list[Pairs] = []
    scopes: list[str] = []
    events: list[tuple[Any, ...]] = []
    event_counts: list[int] = []
    links: list[tuple[bytes, bytes]] = []
    link_counts: list[int] = []
    for request in requests:
        for resource_spans in request.resource_spans:
            resource = len(resources)
            resources.append(pairs_of(resource_spans.resource.attributes))
            for scope_spans in resource_spans.scope_spans:
                scope = len(scopes)
                scopes.append(scope_spans.scope.name)
                for span in scope_spans.spans:
                    status = span.status
                    rows.append(
                        (
                            span.trace_id,
                            span.span_id,
                            span.parent_span_id,
                            span.name,
                            span.kind,
                            status.code,
                            status.message,
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            span.trace_state,
                            resource,
                            scope,
                        )
                    )
                    attributes.append(pairs_of(span.attributes))
                    found = span.events
                    event_counts.append(len(found))
                    events += [(event.time_unix_nano, event.name, pairs_of(event.attributes)) for event in found]
                    linked = span.links
                    link_counts.append(len(linked))
                    links += [(link.trace_id, link.span_id) for link in linked]
    columns = list(zip(*rows, strict=True)) or [()] * len(FIELDS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, FIELDS, strict=True)]
    return RawSpans(
        fields=pa.Table.from_arrays(arrays, schema=FIELDS),
        attributes=Attributes.of(attributes),
        resources=Attributes.of(resources),
        scopes=pa.array(scopes, pa.string()),
        event_offsets=offsets_of(event_counts),
        event_times=pa.array([event[0] for event in events], pa.uint64()),
        event_names=pa.array([event[1] for event in events], pa.string()),
        event_attributes=Attributes.of([event[2] for event in events]),
        link_offsets=offsets_of(link_counts),
        link_trace_ids=pa.array([link[0] for link in links], pa.binary()),
        link_span_ids=pa.array([link[1] for link in links], pa.binary()),
    )


def finish(raw: RawSpans, source: str, tally: Tally) -> pa.Table:
    """Return the table of spans; what is dropped and repaired is counted. Malformed if it would be absurdly large."""
    fields = {name: raw.fields.column(name).combine_chunks() for name in FIELDS.names}
    resource = fields["resource"]
    _check_size(raw, resource.to_numpy(zero_copy_only=False))
    trace_id, span_id = to_hex(fields["trace_id"], TRACE_ID_BYTES), to_hex(fields["span_id"], SPAN_ID_BYTES)
    start, end = (fields[name].to_numpy(zero_copy_only=False) for name in ("start", "end"))
    attributes, repeated = raw.attributes.unique()
    resources, repeated_in_resources = raw.resources.unique()

    refused = {
        "span without a valid trace id": _where(pc.is_null(trace_id)),
        "span without a valid span id": _where(pc.is_null(span_id)),
        "span without a start time": start == 0,
        "span with a time after the year 2262": (start > _LAST_TIME_NS) | (end > _LAST_TIME_NS),
    }
    kept = _kept(refused, len(start), source, tally)
    parent, kind, status = fields["parent_span_id"], fields["kind"], fields["status"]
    columns: dict[str, Any] = {name: resources.pick(keys).take(resource) for name, keys in RESOURCE_ATTRIBUTES.items()}
    columns |= {name: attributes.pick(keys) for name, keys in SPAN_ATTRIBUTES.items()}
    columns |= {
        "trace_id": trace_id,
        "span_id": span_id,
        "parent_span_id": to_hex(parent, SPAN_ID_BYTES),
        "name": fields["name"],
        "kind": _within(kind, KIND_CONSUMER),
        "status": _within(status, STATUS_ERROR),
        "status_message": _null_if_empty(fields["status_message"]),
        "start_ns": start.astype("i8"),
        "duration_ns": np.where(end > start, end - start, 0).astype("i8"),
        "http_status": _status_code(columns["http_status"]),
        "error_type": with_rpc_status(columns["error_type"], attributes.pick(RPC_STATUS), kind),
        "scope": _null_if_empty(raw.scopes).take(fields["scope"]),
        "adjusted_milli": adjusted_milli(fields["trace_state"]),
        "attributes": attributes.to_maps(),
        "resource": resources.to_maps().take(resource),
        "events": _events(raw, tally),
        "links": _links(raw, source, tally),
        "source": pa.repeat(pa.scalar(source), len(start)),
    }
    repaired = {
        "service.name missing": _where(pc.is_null(columns["service"])),
        "end before start": end < start,
        "parent span id not valid": _where(pc.and_(pc.is_null(columns["parent_span_id"]), _given(parent))),
        "unknown span kind": columns["kind"] != kind.to_numpy(zero_copy_only=False),
        "unknown span status": columns["status"] != status.to_numpy(zero_copy_only=False),
    }
    for reason, rows in repaired.items():
        tally.repair(reason, int((kept & rows).sum()))
    tally.repair("attribute key repeated", repeated + repeated_in_resources)
    arrays = [
        pa.array(columns[f.name], f.type) if isinstance(columns[f.name], np.ndarray) else columns[f.name] for f in SPANS
    ]
    table = pa.Table.from_arrays(arrays, schema=SPANS)
    if not kept.all():
        table = table.filter(pa.array(kept))
    tally.accepted["spans"] += table.num_rows
    return table


def _kept(refused: Mapping[str, np.ndarray], count: int, source: str, tally: Tally) -> np.ndarray:
    """Return which of the rows stay; each that goes is counted under the first reason that refuses it."""
    kept = np.ones(count, bool)
    for reason, wrong in refused.items():
        rows = np.flatnonzero(kept & wrong)
        if len(rows):
            tally.drop(reason, f"{source}: span {rows[0] + 1}", len(rows))
            kept[rows] = False
    return kept


def _check_size(raw: RawSpans, resource: np.ndarray) -> None:
    resources = raw.resources
    ends = offsets_of(pc.binary_length(resources.texts).to_numpy(zero_copy_only=False).astype("i8"))
    ends = ends + offsets_of(pc.binary_length(resources.keys).to_numpy(zero_copy_only=False).astype("i8"))
    sizes = np.diff(ends[resources.offsets].astype("i8"))
    counts = np.bincount(resource, minlength=len(sizes))
    refuse_absurd_size(int(sizes @ counts))


def _events(raw: RawSpans, tally: Tally) -> pa.StringArray:
    """Return a JSON array of {"time_ns", "name", "attributes"} for each span; null without events."""
    attributes, repeated = raw.event_attributes.unique()
    tally.repair("attribute key repeated", repeated)
    times, names = raw.event_times.cast(pa.string()), quoted(raw.event_names)
    parts = ['{"time_ns":', times, ',"name":', names, ',"attributes":', attributes.to_objects(), "}"]
    events = pc.binary_join_element_wise(*parts, "")
    listed = pc.binary_join(pa.ListArray.from_arrays(pa.array(raw.event_offsets, pa.int32()), events), ",")
    array = pc.binary_join_element_wise("[", listed, "]", "")
    return pc.if_else(pa.array(np.diff(raw.event_offsets) > 0), array, pa.scalar(None, pa.string()))


def _links(raw: RawSpans, source: str, tally: Tally) -> pa.ListArray:
    trace_ids, span_ids = to_hex(raw.link_trace_ids, TRACE_ID_BYTES), to_hex(raw.link_span_ids, SPAN_ID_BYTES)
    valid = _where(pc.and_(pc.is_valid(trace_ids), pc.is_valid(span_ids)))
    offsets = raw.link_offsets
    if not valid.all():
        tally.drop("span link without valid ids", source, int((~valid).sum()))
        offsets = offsets_of(valid)[offsets]
        trace_ids, span_ids = trace_ids.filter(pa.array(valid)), span_ids.filter(pa.array(valid))
    pairs = pa.StructArray.from_arrays([trace_ids, span_ids], fields=list(LINKS.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pairs).cast(LINKS)


def _within(numbers: pa.Array, largest: int) -> np.ndarray:
    """Return enum numbers with unknown ones as 0, which both enums call unspecified."""
    plain = numbers.to_numpy(zero_copy_only=False)
    return np.where((plain >= 0) & (plain <= largest), plain, 0).astype("i1")


def _status_code(texts: pa.StringArray) -> pa.Array:
    is_code = pc.match_substring_regex(texts, r"^[0-9]{1,9}$")
    return pc.if_else(is_code, texts, pa.scalar(None, pa.string())).cast(pa.int32())


def _null_if_empty(texts: pa.StringArray) -> pa.StringArray:
    return pc.if_else(pc.not_equal(texts, ""), texts, pa.scalar(None, pa.string()))


def _given(ids: pa.BinaryArray) -> pa.BooleanArray:
    """Tell where an id was set to anything but zeros of its own length: those stand for none."""
    return pc.and_(pc.greater(pc.binary_length(ids), 0), pc.not_equal(ids, pa.scalar(bytes(SPAN_ID_BYTES))))


def _where(mask: pa.BooleanArray) -> np.ndarray:
    rows: np.ndarray = mask.fill_null(False).to_numpy(zero_copy_only=False)
    return rows
