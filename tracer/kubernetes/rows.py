"""Kubernetes objects and events as rows of our tables; pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
import pyarrow as pa

from ..batch import Batch, Tally
from ..schema import EVENTS, OBJECTS
from .content import digest, spec_of, status_of
from .times import latest_ns, to_ns

# What a hostile or broken object may raise.
MALFORMED: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
_KIND: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_NO_NAMES: Final = frozenset({"", None})


class Untimed(ValueError):
    """An object that carries no time, read without one."""


def object_row(
    obj: Mapping[str, Any], source: str, seen_ns: int | None = None, *, kind: str | None = None
) -> dict[str, Any]:
    """Return the row of ``objects`` for a version of an object.

    Parameters
    ----------
    seen_ns
        Since when it is known in this version; None is the latest time that the object itself carries.
    kind
        Its kind where the object does not say it: the items of a list, metadata alone.

    Raises
    ------
    Untimed
        There is no time at all.
    TypeError, ValueError
        It is no Kubernetes object.
    """
    named = obj["kind"] if kind is None else kind
    if not isinstance(named, str) or not _KIND.fullmatch(named):
        raise ValueError("kind is no name of a kind")
    metadata = obj["metadata"]
    name, namespace = metadata.get("name") or metadata.get("generateName"), metadata.get("namespace")
    if not isinstance(name, str) or not name or not isinstance(namespace, (str, type(None))):
        raise ValueError("metadata.name is text")
    valid_from_ns = latest_ns(dict(obj)) if seen_ns is None else seen_ns
    if valid_from_ns is None:
        raise Untimed(f"{named} {name}")
    spec, spec_digest = spec_of(named, obj)
    owners = metadata.get("ownerReferences") or []
    controller = next((o for o in owners if o.get("controller")), owners[0] if owners else {})
    return {
        "kind": named,
        "uid": str(metadata.get("uid") or f"{named}/{namespace or ''}/{name}"),
        "namespace": namespace or None,
        "name": name,
        "owner_uid": _text(controller.get("uid")),
        "labels": _json_map(metadata.get("labels")),
        "spec_digest": spec_digest,
        "status": _json(status_of(named, obj)),
        "valid_from_ns": valid_from_ns,
        "valid_to_ns": None,
        "source": source,
        "spec": _json(spec),
        "created_ns": to_ns(metadata.get("creationTimestamp")),
        "resource_version": _text(metadata.get("resourceVersion")),
    }


def version_digest(row: Mapping[str, Any]) -> str:
    """Return a digest that is equal for rows of one version: the same content, and for a Secret the same writing."""
    told = [row["spec_digest"], row["status"], row["labels"]]
    return digest([*told, row["resource_version"]] if row["kind"] == "Secret" else told)


def gone_row(row: Mapping[str, Any], at_ns: int) -> dict[str, Any]:
    """Return the row that ends an object: who it was, deleted at ``at_ns``, nothing of what it held."""
    who = {name: row.get(name) for name in ("kind", "uid", "namespace", "name", "owner_uid", "source")}
    return {**who, "valid_from_ns": at_ns, "valid_to_ns": at_ns}


def event_row(event: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the row of ``events`` for an Event of ``v1`` or of ``events.k8s.io``, at its latest occurrence.

    Raises Untimed without a time, TypeError or ValueError for what is no event.
    """
    series = event.get("series") or {}
    about = event.get("involvedObject") or event.get("regarding") or {}
    metadata = event["metadata"]
    last = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("deprecatedLastTimestamp"))
    first = (event.get("eventTime"), event.get("firstTimestamp"), event.get("deprecatedFirstTimestamp"))
    times = [to_ns(text) for text in (*last, *first, metadata.get("creationTimestamp"))]
    time_ns = next((ns for ns in times if ns is not None), None)
    if time_ns is None:
        raise Untimed(f"Event {metadata.get('name')}")
    begun = [to_ns(text) for text in (*first, metadata.get("creationTimestamp"))]
    attributes = {
        "type": event.get("type"),
        "count": series.get("count") or event.get("count") or event.get("deprecatedCount"),
        "first_ns": next((ns for ns in begun if ns is not None), None),
        "component": event.get("reportingComponent")
        or event.get("reportingController")
        or (event.get("source") or event.get("deprecatedSource") or {}).get("component"),
        "host": (event.get("source") or event.get("deprecatedSource") or {}).get("host"),
        "field": about.get("fieldPath"),
        "action": event.get("action"),
        "uid": metadata.get("uid"),
    }
    return {
        "time_ns": time_ns,
        "kind": "kubernetes",
        "reason": _text(event.get("reason")),
        "message": _text(event.get("message") or event.get("note")),
        "object_kind": _text(about.get("kind")),
        "object_uid": _text(about.get("uid")),
        "namespace": _text(about.get("namespace") or metadata.get("namespace")),
        "object_name": _text(about.get("name")),
        "service": None,
        "attributes": [(key, _json(value)) for key, value in attributes.items() if value not in _NO_NAMES],
        "source": source,
    }


def to_batch(
    objects: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]], tally: Tally | None = None
) -> Batch:
    """Return rows as a batch; what was accepted is counted."""
    counted = tally or Tally()
    tables = {}
    for signal, schema, rows in (("objects", OBJECTS, objects), ("events", EVENTS, events)):
        if rows:
            columns = {field.name: [row.get(field.name) for row in rows] for field in schema}
            arrays = [pa.array(columns[field.name], field.type) for field in schema]
            tables[signal] = pa.Table.from_arrays(arrays, schema=schema)
            counted.accepted[signal] += len(rows)
    return Batch(tables, counted)


def decode(
    found: Sequence[tuple[Any, str]],
    source: str,
    seen_ns: int | None = None,
    tally: Tally | None = None,
    kind: str | None = None,
) -> Batch:
    """Return the batch of parsed manifests with their places: objects, lists of objects, and events of a watch.

    ``kind`` is that of objects which do not say it. What is no object is dropped with its place.
    """
    counted = tally or Tally()
    objects: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for value, place in found:
        for one in _unwrapped(value):
            try:
                is_event = (one.get("kind") or kind) == "Event"
                row = (
                    event_row(one, source)
                    if is_event
                    else object_row(one, source, seen_ns, kind=one.get("kind") or kind)
                )
                _check_texts(row)
            except Untimed as error:
                counted.drop("Kubernetes object without a time (say --time)", f"{place}: {error}")
            except MALFORMED as error:
                counted.drop("malformed Kubernetes object", f"{place}: {type(error).__name__}: {str(error)[:100]}")
            else:
                (events if is_event else objects).append(row)
    return to_batch(objects, events, counted)


def _unwrapped(value: Any) -> list[Any]:
    """Return the objects of a List, of an event of a watch, or the object itself."""
    if isinstance(value, dict):
        if isinstance(value.get("items"), list) and str(value.get("kind") or "List").endswith("List"):
            kind = str(value.get("kind") or "List").removesuffix("List")
            return [{"kind": kind, **item} if kind and isinstance(item, dict) else item for item in value["items"]]
        if isinstance(value.get("object"), dict) and isinstance(value.get("type"), str):
            return [value["object"]]
    return [value]


def _check_texts(row: Mapping[str, Any]) -> None:
    """Raise ValueError for text that is no Unicode, which no table can hold."""
    for value in row.values():
        if isinstance(value, str):
            value.encode()


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str).decode()


def _json_map(values: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    return [(str(key), _json(str(value))) for key, value in sorted((values or {}).items())]


def _text(value: object) -> str | None:
    return None if value in _NO_NAMES else str(value)
