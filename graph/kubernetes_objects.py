"""One version of an object of a cluster, and one event about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson

from ..tracer.kubernetes.kinds import CLUSTER_WIDE

WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicaSet")
# A history is read with what led to the start of its window.
FOREVER: Final = 2**62


class Object:
    """One version of an object, valid in ``[valid_from_ns, valid_to_ns)``; its JSON is parsed when it is asked for."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.kind: str = row["kind"]
        self.uid: str = row["uid"]
        self.namespace: str | None = row["namespace"]
        self.name: str = row["name"]
        self.owner_uid: str | None = row["owner_uid"]
        self.spec_digest: str | None = row["spec_digest"]
        self.resource_version: str | None = row["resource_version"]
        self.valid_from_ns: int = row["valid_from_ns"]
        self.valid_to_ns: int = FOREVER if row["valid_to_ns"] is None else row["valid_to_ns"]
        self.created_ns: int | None = row["created_ns"]
        self._labels, self._spec, self._status = row["labels"], row["spec"], row["status"]

    @cached_property
    def labels(self) -> dict[str, str]:
        """Labels by name."""
        return {key: orjson.loads(value) for key, value in self._labels or ()}

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What it asks for or holds (`hypocenter.tracer.kubernetes.content`)."""
        return orjson.loads(self._spec) if self._spec else {}

    @property
    def text(self) -> str:
        """What it asks for, as JSON text."""
        return self._spec or ""

    @cached_property
    def status(self) -> dict[str, Any]:
        """Its status, with ``metadata``."""
        return orjson.loads(self._status) if self._status else {}

    @property
    def metadata(self) -> dict[str, Any]:
        """Finalisers, annotations, generation, owners, and when it was written last."""
        found = self.status.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations by name."""
        return self.metadata.get("annotations") or {}

    def condition(self, kind: str) -> dict[str, Any]:
        """Return the condition of a type, empty when it has none."""
        found = self.status.get("conditions")
        return next((c for c in found or () if isinstance(c, dict) and c.get("type") == kind), {})

    @property
    def key(self) -> str:
        """``Kind/namespace/name``; cluster-wide kinds have no namespace."""
        return key_of(self.kind, self.namespace, self.name)

    @property
    def template(self) -> dict[str, Any]:
        """The pod template of a workload, empty for what has none."""
        holder = self.spec.get("jobTemplate", {}).get("spec", {}) if self.kind == "CronJob" else self.spec
        found = holder.get("template") if isinstance(holder, dict) else None
        return found if isinstance(found, dict) else {}

    def __repr__(self) -> str:
        return f"<{self.key}>"


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes event at its latest occurrence."""

    time_ns: int
    reason: str
    message: str
    object_kind: str
    object_uid: str | None
    namespace: str | None
    object_name: str
    attributes: Mapping[str, Any]

    @property
    def first_ns(self) -> int:
        """When it occurred first."""
        return int(self.attributes.get("first_ns") or self.time_ns)


def key_of(kind: str, namespace: str | None, name: str) -> str:
    """Return the key under which an object is known by name.

    >>> key_of("Pod", "shop", "cart-0"), key_of("Node", None, "n1")
    ('Pod/shop/cart-0', 'Node/n1')
    """
    return f"{kind}/{name}" if kind in CLUSTER_WIDE or not namespace else f"{kind}/{namespace}/{name}"
