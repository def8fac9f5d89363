"""The states of objects over time: which pods were ready, waiting or gone, which nodes well, when."""

from __future__ import annotations

import pandas as pd

from .kubernetes import History
from .kubernetes_objects import Object

COLUMNS = ["object", "state", "start", "end", "is_bad"]
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def stretches(history: History) -> pd.DataFrame:
    """Return a row per object and stretch of one state, within the history's window, in order of object and start.

    Columns: ``object`` (``Kind/namespace/name``), ``state`` in words, ``start`` and ``end`` (UTC), ``is_bad``. Pods,
    nodes, workloads with replicas, jobs and volume claims have states; a version whose status says nothing has none.
    """
    rows: list[tuple[str, str, int, int, bool]] = []
    for versions in history.versions.values():
        for version in versions:
            told = state_of(version)
            start = max(version.valid_from_ns, history.window.start_ns)
            end = min(version.valid_to_ns, history.window.end_ns)
            if told is None or start >= end:
                continue
            if rows and (rows[-1][0], rows[-1][1], rows[-1][3]) == (version.key, told[0], start):
                start = rows.pop()[2]
            rows.append((version.key, told[0], start, end, told[1]))
    frame = pd.DataFrame(sorted(rows), columns=["object", "state", "start", "end", "is_bad"]).astype({"is_bad": bool})
    times = {name: pd.to_datetime(frame[name].astype("int64"), unit="ns", utc=True) for name in ("start", "end")}
    return frame.assign(**times).sort_values(["object", "start"], ignore_index=True)


def state_of(found: Object) -> tuple[str, bool] | None:
    """Return the state of a version in words and whether it is bad; None where it has none."""
    match found.kind:
        case "Pod":
            return _pod(found)
        case "Node":
            return _node(found)
        case "Deployment" | "StatefulSet" | "DaemonSet":
            return _workload(found)
        case "PersistentVolumeClaim":
            phase = found.status.get("phase")
            return None if not phase else (str(phase), phase != "Bound")
        case "Job":
            failed = found.condition("Failed").get("status") == "True"
            if failed or found.condition("Complete").get("status") == "True":
                return ("failed" if failed else "complete"), failed
            return "running", False
    return None


def _pod(pod: Object) -> tuple[str, bool] | None:
    phase = pod.status.get("phase")
    if pod.metadata.get("deletionTimestamp"):
        return "terminating", False
    containers = [c for c in pod.status.get("containerStatuses") or () if isinstance(c, dict)]
    for container in containers:
        state = container.get("state") or {}
        for kind in ("waiting", "terminated"):
            reason = (state.get(kind) or {}).get("reason")
            if reason and reason not in ("ContainerCreating", "PodInitializing", "Completed"):
                return str(reason), True
    if phase in ("Succeeded", "Failed"):
        return str(pod.status.get("reason") or phase), phase == "Failed"
    ready = pod.condition("Ready").get("status")
    counts = [c.get("restartCount") for c in containers]
    restarts = sum(int(count) for count in counts if isinstance(count, int | float))
    told = f", {restarts} restarts" if restarts > 1 else ", 1 restart" if restarts else ""
    if ready == "True":
        return f"ready{told}", False
    if phase == "Running" or ready == "False":
        return f"not ready{told}", True
    if phase:
        return f"{phase}{told}", True
    # Metrics may tell of restarts alone.
    return (f"known{told}", bool(restarts)) if counts else None


def _node(node: Object) -> tuple[str, bool] | None:
    pressures = [kind for kind in _PRESSURES if node.condition(kind).get("status") == "True"]
    ready = node.condition("Ready").get("status")
    if ready is None and not pressures:
        return None
    cordoned = ["cordoned"] if node.spec.get("unschedulable") else []
    words = ["ready" if ready == "True" else "not ready", *pressures, *cordoned]
    return ", ".join(words), ready != "True" or bool(pressures)


def _workload(found: Object) -> tuple[str, bool] | None:
    if found.kind == "DaemonSet":
        wanted, ready = found.status.get("desiredNumberScheduled"), found.status.get("numberReady", 0)
    else:
        wanted, ready = found.spec.get("replicas"), found.status.get("readyReplicas", 0)
    if wanted is None or not found.status:
        return None
    return f"{ready}/{wanted} ready", int(ready) < int(wanted)
