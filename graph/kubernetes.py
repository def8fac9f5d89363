"""The objects of a cluster at a time, and their history in a window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from ..tracer.kubernetes.state_metrics import to_objects
from ..tracer.kubernetes.versions import DENIED, LISTED, Versions, order, read_versions, within
from ..tracer.schema import EVENTS
from ..tracer.window import Window
from .kubernetes_objects import FOREVER, Event, Object, key_of

if TYPE_CHECKING:
    from ..tracer.store import Store
    from .kubernetes_layers import Edge


@dataclass(frozen=True)
class Cluster:
    """Objects at one time, by uid; ``known`` are the kinds of which all objects are known."""

    objects: Mapping[str, Object]
    known: frozenset[str] = frozenset()
    at_ns: int | None = None

    @cached_property
    def by_key(self) -> dict[str, Object]:
        """Objects by `Object.key`."""
        return {found.key: found for found in self.objects.values()}

    @cached_property
    def by_kind(self) -> dict[str, list[Object]]:
        """Objects by kind, in order of namespace and name."""
        found: dict[str, list[Object]] = defaultdict(list)
        for each in sorted(self.objects.values(), key=lambda o: (o.kind, o.namespace or "", o.name)):
            found[each.kind].append(each)
        return dict(found)

    def of(self, *kinds: str) -> list[Object]:
        """Return the objects of some kinds."""
        return [found for kind in kinds for found in self.by_kind.get(kind, ())]

    def named(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """Return an object by its name, None when it is not there."""
        return self.by_key.get(key_of(kind, namespace, name))

    @property
    def edges(self) -> list[Edge]:
        """The edges of all layers (`hypocenter.graph.kubernetes_layers`)."""
        return self._layers[0]

    @property
    def malformed(self) -> list[str]:
        """The keys of objects whose content is not what their kind says; they have no edges."""
        return self._layers[1]

    @cached_property
    def _layers(self) -> tuple[list[Edge], list[str]]:
        from .kubernetes_layers import edges_of

        return edges_of(self)

    @cached_property
    def out(self) -> dict[str, list[Edge]]:
        """Edges by the key of their source."""
        return _grouped(self.edges, "source")

    @cached_property
    def into(self) -> dict[str, list[Edge]]:
        """Edges by the key of their target."""
        return _grouped(self.edges, "target")

    def root(self, found: Object) -> Object:
        """Return the workload at the top of an object's owners, or the object itself."""
        for _ in range(8):
            owner = self.objects.get(found.owner_uid or "")
            if owner is None:
                return found
            found = owner
        return found

    def pods_of(self, workload: Object) -> list[Object]:
        """Return the pods below a workload."""
        found, waiting, seen = [], [workload], {workload.uid}
        while waiting:
            for child in self._owned.get(waiting.pop().uid, ()):
                if child.kind == "Pod":
                    found.append(child)
                elif child.uid not in seen:
                    seen.add(child.uid)
                    waiting.append(child)
        return found

    def owned(self, owner: Object, kind: str) -> list[Object]:
        """Return the objects of a kind that an object owns directly."""
        return [child for child in self._owned.get(owner.uid, ()) if child.kind == kind]

    @cached_property
    def _owned(self) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = defaultdict(list)
        for each in self.objects.values():
            if each.owner_uid:
                found[each.owner_uid].append(each)
        return found


@dataclass(frozen=True)
class History:
    """The versions of all objects in a window by uid, in order of time, and the events by the uid of their object."""

    window: Window
    versions: Mapping[str, list[Object]]
    events: Mapping[str, list[Event]] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    denied: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, versions: Versions, window: Window, events: pa.Table | None = None) -> History:
        """Return the history of ordered versions (`hypocenter.tracer.kubernetes.order`) and rows of ``events``."""
        held: dict[str, list[Object]] = defaultdict(list)
        for row in versions.table.to_pylist():
            held[row["uid"]].append(Object(row))
        told = _events(EVENTS.empty_table() if events is None else events)
        return cls(window, dict(held), _by_object(told, held), versions.known, dict(versions.denied or {}))

    @classmethod
    def read(cls, store: Store, window: Window) -> History:
        """Return the history of a window of a store; without objects, what the series of kube-state-metrics tell."""
        versions, events = read_versions(store, window), store.read("events", window)
        if store.bounds("objects") is None:
            told = to_objects(store.read("series"), store.read("points", window))
            versions = within(order(told, events), window)
        return cls.of(versions, window, events)

    @cached_property
    def collected_ns(self) -> int:
        """The time of the last row of any object or event: how far the cluster is known for sure."""
        ends = [t for found in self.versions.values() for t in (found[-1].valid_from_ns, found[-1].valid_to_ns)]
        told = [event.time_ns for events in self.events.values() for event in events]
        return max((t for t in (*ends, *told) if t < FOREVER), default=self.window.start_ns)

    def at(self, time_ns: int) -> Cluster:
        """Return the objects as they were at a time."""
        found = {}
        for uid, versions in self.versions.items():
            for version in reversed(versions):
                if version.valid_from_ns <= time_ns:
                    if time_ns < version.valid_to_ns:
                        found[uid] = version
                    break
        return Cluster(found, self.known, time_ns)

    @cached_property
    def whole(self) -> Cluster:
        """Every object that was there at some time of the window, in its last version."""
        return Cluster({uid: versions[-1] for uid, versions in self.versions.items()}, self.known)

    def __bool__(self) -> bool:
        return bool(self.versions or self.events)

    def events_of(self, found: Object, *reasons: str) -> list[Event]:
        """Return the events about an object in order of time, of some reasons or all."""
        return [e for e in self.events.get(found.uid, ()) if not reasons or e.reason in reasons]


def _events(table: pa.Table) -> list[Event]:
    """Return each occurrence once: a collector that starts again reads the events of the last hour anew."""
    found: dict[tuple[Any, ...], Event] = {}
    for row in table.to_pylist():
        if row["kind"] != "kubernetes" or row["reason"] in (LISTED, DENIED):
            continue
        attributes = {key: orjson.loads(value) for key, value in row["attributes"] or ()}
        event = Event(
            row["time_ns"],
            row["reason"] or "",
            row["message"] or "",
            row["object_kind"] or "",
            row["object_uid"],
            row["namespace"],
            row["object_name"] or "",
            attributes,
        )
        found[attributes.get("uid") or row["object_uid"], event.reason, event.message, event.time_ns] = event
    return sorted(found.values(), key=lambda e: (e.time_ns, e.reason))


def _by_object(events: Iterable[Event], versions: Mapping[str, list[Object]]) -> dict[str, list[Event]]:
    by_key = {found[-1].key: uid for uid, found in versions.items()}
    grouped: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        key = key_of(event.object_kind, event.namespace, event.object_name)
        # The events of a Node carry its name in place of its uid.
        known = event.object_uid in versions
        grouped[event.object_uid if known and event.object_uid else by_key.get(key, key)].append(event)
    return dict(grouped)


def _grouped(edges: Iterable[Edge], side: str) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        found[getattr(edge, side)].append(edge)
    return dict(found)
