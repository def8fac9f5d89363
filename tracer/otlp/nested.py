"""Requests as nested Arrow arrays, which the fast routes parse them to, flattened to spans without any loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from .any_value import plain_double
from .attributes import Attributes, offsets_of, quoted, replaced
from .spans import FIELDS, RawSpans


class Undecided(Exception):
    """A fast route refuses the bytes, or does not tell enough about them: the plain route has the last word."""


@dataclass(frozen=True, slots=True)
class Leaves:
    """What a route makes of the leaves of its arrays; each may raise Undecided."""

    ids: Callable[[pa.Array], pa.BinaryArray]
    times: Callable[[pa.Array], pa.Array]  # uint64
    values: Mapping[str, Callable[[pa.Array], pa.StringArray]]  # JSON texts by the field of AnyValue, but of strings


def flattened(resource_spans: pa.ListArray, leaves: Leaves) -> RawSpans:
    """Return the spans of requests, a list of ResourceSpans each, as `spans.gather` does; raises Undecided.

    Fields are named as in the .proto file or as in OTLP/JSON; absent ones may be null.
    """
    by_resource, _ = _items(resource_spans)
    by_scope, scope_offsets = _items(by_resource["scope_spans"])
    spans, span_offsets = _items(by_scope["spans"])
    scope = np.repeat(np.arange(len(span_offsets) - 1), np.diff(span_offsets))
    resource = np.repeat(np.arange(len(scope_offsets) - 1), np.diff(scope_offsets))[scope]
    status = fields(spans["status"])
    columns = {
        "trace_id": leaves.ids(spans["trace_id"]),
        "span_id": leaves.ids(spans["span_id"]),
        "parent_span_id": leaves.ids(spans["parent_span_id"]),
        "name": spans["name"].fill_null(""),
        "kind": spans["kind"].fill_null(0),
        "status": status["code"].fill_null(0),
        "status_message": status["message"].fill_null(""),
        "start": leaves.times(spans["start_time_unix_nano"]),
        "end": leaves.times(spans["end_time_unix_nano"]),
        "trace_state": spans["trace_state"].fill_null(""),
        "resource": pa.array(resource, pa.int32()),
        "scope": pa.array(scope, pa.int32()),
    }
    events, event_offsets = _items(spans["events"])
    links, link_offsets = _items(spans["links"])
    scopes = fields(by_scope["scope"])
    for unkept in (scopes["attributes"], links["attributes"]):
        _attributes(unkept, leaves)  # a wrong value is refused here as elsewhere
    return RawSpans(
        fields=pa.Table.from_arrays([columns[name] for name in FIELDS.names], schema=FIELDS),
        attributes=_attributes(spans["attributes"], leaves),
        resources=_attributes(fields(by_resource["resource"])["attributes"], leaves),
        scopes=scopes["name"].fill_null(""),
        event_offsets=event_offsets,
        event_times=leaves.times(events["time_unix_nano"]),
        event_names=events["name"].fill_null(""),
        event_attributes=_attributes(events["attributes"], leaves),
        link_offsets=link_offsets,
        link_trace_ids=leaves.ids(links["trace_id"]),
        link_span_ids=leaves.ids(links["span_id"]),
    )


def fields(structs: pa.StructArray) -> dict[str, pa.Array]:
    """Return the fields of structs by their names in the .proto file; those of a null struct are null."""
    return dict(zip((_proto_name(field.name) for field in structs.type), structs.flatten(), strict=True))


def double_texts(numbers: pa.Array) -> pa.StringArray:
    """Return doubles as orjson writes them, all in one call; what JSON cannot say is null there."""
    plain = numbers.to_numpy(zero_copy_only=False)
    texts = orjson.dumps(plain, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode().split(",")
    for row in np.flatnonzero(~np.isfinite(plain)):
        texts[row] = orjson.dumps(plain_double(float(plain[row]))).decode()
    return pa.array(texts, pa.string())


@cache
def _proto_name(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


def _items(lists: pa.ListArray) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Return the fields of all items of lists of structs, and the offsets of each list; a null list is empty."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    items = lists.flatten()
    if items.null_count:
        raise Undecided
    return fields(items), offsets_of(lengths)


def _attributes(lists: pa.ListArray, leaves: Leaves) -> Attributes:
    pairs, offsets = _items(lists)
    if pairs["key"].null_count:
        raise Undecided
    return Attributes(offsets, pairs["key"], _texts(fields(pairs["value"]), leaves))


def _texts(by_type: dict[str, pa.Array], leaves: Leaves) -> pa.StringArray:
    """Return the JSON text of each AnyValue: strings are most of them, the other types are put in their places."""
    given = {name: np.flatnonzero(column.is_valid()) for name, column in by_type.items() if len(column)}
    result = quoted(by_type["string_value"])
    rows, texts = [], []
    for name, at in given.items():
        if name != "string_value" and len(at):
            rows.append(at)
            texts.append(leaves.values[name](by_type[name].take(pa.array(at))))
    if rows:
        result = replaced(result, np.concatenate(rows), pa.concat_arrays(texts))
    if sum(map(len, given.values())) != len(result) - result.null_count:
        raise Undecided  # some AnyValue has several values: the last one counts, and nothing tells which it is
    return result.fill_null("null")
