"""The way from a host name of an Ingress to the nodes under its pods, and what is broken on it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import pandas as pd

from .kubernetes import Cluster
from .kubernetes_layers import LAYERS, Edge
from .kubernetes_objects import Object

# Where a request goes, and what the pod that serves it stands on.
_ONWARD = ("routing", "selection", "placement")


@dataclass(frozen=True, slots=True)
class Path:
    """Keys from the entry to the end, with the edges between them; ``broken`` says what is wrong, by key."""

    keys: tuple[str, ...]
    edges: tuple[Edge, ...]
    broken: dict[str, str]

    def __str__(self) -> str:
        shown = [f"{key} ({self.broken[key]})" if key in self.broken else key for key in self.keys]
        return " -> ".join(shown)


def paths_of(cluster: Cluster, host: str, *, most: int = 50) -> list[Path]:
    """Return the ways of a host's requests: Ingress or HTTPRoute, Service, EndpointSlice, Pod, Node; the broken first.

    ``host`` is a host of a rule, or any object's key to start there.
    """
    starts: list[tuple[str, str | None]]
    if host in cluster.by_key:
        starts = [(host, None)]
    else:
        shown = [e for e in cluster.edges if e.layer == "routing" and e.detail.split("/")[0].split(" ")[0] == host]
        inner = {e.target for e in shown}
        starts = list(dict.fromkeys((e.source, e.detail) for e in shown if e.source not in inner))
    found: list[Path] = []
    for key, detail in starts:
        waiting: deque[tuple[tuple[str, ...], tuple[Edge, ...]]] = deque([((key,), ())])
        while waiting and len(found) < 1000:
            keys, edges = waiting.popleft()
            onward = _onward(cluster, keys[-1], detail if len(keys) == 1 else None)
            onward = [edge for edge in onward if edge.target not in keys]
            if not onward:
                broken = {k: why for k in keys if (why := _wrong(cluster, k, is_last=k == keys[-1]))}
                found.append(Path(keys, edges, broken))
            waiting.extend(((*keys, edge.target), (*edges, edge)) for edge in onward)
    return sorted(found, key=lambda path: (not path.broken, path.keys))[:most]


def _onward(cluster: Cluster, key: str, detail: str | None) -> list[Edge]:
    if key not in cluster.by_key:
        return []
    edges = [e for e in cluster.out.get(key, ()) if e.layer in _ONWARD]
    if detail is not None:
        edges = [e for e in edges if e.detail == detail]
    if key.startswith("Service/"):
        slices = [e for e in edges if e.layer == "routing" and cluster.out.get(e.target)]
        # With its slices known, what a Service selects is told twice.
        return slices or [e for e in edges if e.layer == "selection"]
    return edges


def _wrong(cluster: Cluster, key: str, *, is_last: bool) -> str | None:
    found = cluster.by_key.get(key)
    kind = key.split("/", 1)[0]
    if found is None:
        return "does not exist" if kind in cluster.known else None
    if kind == "Pod":
        return _pod_trouble(found)
    if kind == "Node":
        ready = found.condition("Ready")
        return None if not ready or ready.get("status") == "True" else f"not ready: {ready.get('reason')}"
    if kind == "Service" and is_last and found.spec.get("type") != "ExternalName":
        return "selects no pod" if "Pod" in cluster.known else None
    return None


def _pod_trouble(pod: Object) -> str | None:
    ready = pod.condition("Ready")
    if pod.status.get("phase") in ("Pending", "Failed", "Unknown"):
        return str(pod.status["phase"])
    if not ready or ready.get("status") == "True":
        return None
    for status in pod.status.get("containerStatuses") or ():
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"])
    return f"not ready: {ready.get('reason') or 'unknown'}"


def layer_frame(cluster: Cluster, layer: str | None = None) -> pd.DataFrame:
    """Return a row per edge of a layer, or of all: layer, source, target, detail, and whether the target exists.

    ``exists`` is missing where the target's kind is not known. An unknown layer is a ValueError.
    """
    if layer is not None and layer not in LAYERS:
        raise ValueError(f"unknown layer {layer!r}; known: {', '.join(LAYERS)}")
    edges = [edge for edge in cluster.edges if layer in (None, edge.layer)]
    exists = [
        True if e.target in cluster.by_key else False if e.target.split("/", 1)[0] in cluster.known else None
        for e in edges
    ]
    frame = pd.DataFrame(
        [(e.layer, e.source, e.target, e.detail) for e in edges], columns=["layer", "source", "target", "detail"]
    )
    frame["exists"] = pd.array(exists, dtype="boolean")
    return frame.sort_values(["layer", "source", "target", "detail"], kind="stable").reset_index(drop=True)
