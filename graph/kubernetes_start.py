"""The start of a pod as a timeline: which stage it reached when, which is stuck, and whose work that is."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..tracer.kubernetes.times import to_ns
from .kubernetes import Cluster, History
from .kubernetes_objects import Event, Object

if TYPE_CHECKING:
    import pandas as pd

_PULL_PROBLEMS: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a start: ``time_ns`` is when it was done, None while it is not, or where nobody told."""

    name: str
    component: str
    time_ns: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PodStart:
    """The stages of a pod in order; ``stuck`` is the one that it waits at, None when it is ready or has ended."""

    pod: Object
    stages: tuple[Stage, ...]
    stuck: Stage | None

    def to_frame(self) -> pd.DataFrame:
        """Return a row per stage: stage, component, time (UTC, missing while it is not done), note, is_stuck."""
        import pandas as pd

        rows = [(s.name, s.component, s.time_ns, s.note, s is self.stuck) for s in self.stages]
        frame = pd.DataFrame(rows, columns=["stage", "component", "time", "note", "is_stuck"])
        return frame.assign(time=pd.to_datetime(frame.time.astype("Int64"), utc=True))

    def __repr__(self) -> str:
        return f"{self.pod!r}\n{self}"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"

    def __str__(self) -> str:
        begun = self.stages[0].time_ns
        lines = []
        for stage in self.stages:
            when = "-" if stage.time_ns is None or begun is None else f"+{(stage.time_ns - begun) / 1e9:.1f} s"
            mark = "  <- stuck" if stage is self.stuck else ""
            lines.append(
                f"{stage.name:<18} {when:>10}  {stage.component}{f': {stage.note}' if stage.note else ''}{mark}"
            )
        return "\n".join(lines)


def pod_start(history: History, pod: Object) -> PodStart:
    """Return the timeline of the start of a pod, from its conditions, its containers and the events about it."""
    stages = tuple(_stages(history, history.whole, pod))
    if pod.condition("Ready").get("status") == "True" or pod.status.get("phase") in ("Succeeded", "Failed"):
        return PodStart(pod, stages, None)
    # A stage that nobody told of is passed when a later one was reached.
    reached = max((i for i, stage in enumerate(stages) if stage.time_ns is not None), default=-1)
    waiting = next((stage for stage in stages[reached + 1 :]), None)
    named = next((stage for stage in stages[reached + 1 :] if stage.note), waiting)
    return PodStart(pod, stages, named)


def _stages(history: History, cluster: Cluster, pod: Object) -> Iterator[Stage]:
    events = history.events_of(pod)
    yield Stage("accepted", "API server", pod.created_ns)
    yield Stage("stored", "etcd", _stored_ns(history, pod))
    scheduled = pod.condition("PodScheduled")
    note = "" if scheduled.get("status") == "True" else str(scheduled.get("message") or "")[:200]
    gates = pod.spec.get("schedulingGates") or ()
    if gates:
        note = f"held by the scheduling gates {', '.join(str(g.get('name')) for g in gates)}"
    yield Stage("scheduled", "scheduler", _when(scheduled), note or _node_note(cluster, pod, scheduled))
    if _claims(cluster, pod):
        yield _volumes(cluster, pod, events)
    sandbox = pod.condition("PodReadyToStartContainers")
    yield Stage(
        "network", "runtime and CNI", _when(sandbox), _told(events, "FailedCreatePodSandBox", "NetworkNotReady")
    )
    yield _images(pod, events)
    if pod.spec.get("initContainers"):
        yield Stage("initialised", "init containers", _when(pod.condition("Initialized")), _init_note(pod))
    yield _started(pod, events)
    ready = _when(pod.condition("Ready"))
    started = _running_ns(pod)
    note = _told(events, "Unhealthy") if ready is None else ""
    yield Stage("ready", "readiness probe", ready, note or ("" if ready or started is None else "runs, is not ready"))


def _when(condition: dict[str, Any]) -> int | None:
    return to_ns(condition.get("lastTransitionTime")) if condition.get("status") == "True" else None


def _stored_ns(history: History, pod: Object) -> int | None:
    """Return when it was first seen: what is read from the API server has been stored."""
    versions = history.versions.get(pod.uid)
    return versions[0].valid_from_ns if versions else None


def _node_note(cluster: Cluster, pod: Object, scheduled: dict[str, Any]) -> str:
    """Return where it went, or that its node does not answer: then the kubelet does not go on."""
    name = pod.spec.get("nodeName")
    if not name:
        return "" if scheduled else "the scheduler has not looked at it"
    node = cluster.named("Node", None, str(name))
    ready = node.condition("Ready") if node else {}
    return str(name) if not ready or ready.get("status") == "True" else f"{name}, which is not ready"


def _claims(cluster: Cluster, pod: Object) -> list[str]:
    return [e.target for e in cluster.out.get(pod.key, ()) if e.target.startswith("PersistentVolumeClaim/")]


def _volumes(cluster: Cluster, pod: Object, events: list[Event]) -> Stage:
    unbound = [
        key
        for key in _claims(cluster, pod)
        if (claim := cluster.by_key.get(key)) is None or claim.status.get("phase") != "Bound"
    ]
    if unbound:
        return Stage("volumes", "provisioner", None, f"{unbound[0].rpartition('/')[2]} is not bound")
    done = [e.time_ns for e in events if e.reason == "SuccessfulAttachVolume"]
    note = _told(events, "FailedAttachVolume", "FailedMount")
    return Stage("volumes", "attach controller, CSI driver", max(done, default=None), "" if done else note)


def _images(pod: Object, events: list[Event]) -> Stage:
    waiting = [(s.get("state") or {}).get("waiting") or {} for s in _statuses(pod)]
    stuck = next((w for w in waiting if w.get("reason") in _PULL_PROBLEMS), None)
    done = [e.time_ns for e in events if e.reason == "Pulled"]
    if stuck:
        return Stage("images", "kubelet, registry", None, str(stuck.get("message") or stuck.get("reason"))[:200])
    return Stage("images", "kubelet, registry", max(done, default=None))


def _init_note(pod: Object) -> str:
    for status in pod.status.get("initContainerStatuses") or ():
        state = status.get("state") or {}
        if not status.get("ready") and (state.get("terminated") or {}).get("reason") != "Completed":
            what = (state.get("waiting") or {}).get("reason") or (
                "runs" if "running" in state else "has not ended well"
            )
            return f"{status.get('name')} {what}"
    return ""


def _started(pod: Object, events: list[Event]) -> Stage:
    for status in pod.status.get("containerStatuses") or ():
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason and reason not in (*_PULL_PROBLEMS, "ContainerCreating", "PodInitializing"):
            note = f"{status.get('name')}: {waiting.get('message') or reason}"[:200]
            component = f"container {status.get('name')}" if reason == "CrashLoopBackOff" else "kubelet"
            return Stage("started", component, None, note)
    return Stage("started", "kubelet", _running_ns(pod), _told(events, "Failed") if _running_ns(pod) is None else "")


def _running_ns(pod: Object) -> int | None:
    """Return when the last of its containers began to run, None while one does not."""
    states = [(s.get("state") or {}).get("running") for s in pod.status.get("containerStatuses") or ()]
    times = [to_ns(state.get("startedAt")) for state in states if state]
    known = [t for t in times if t is not None]
    return max(known) if known and len(known) == len(states) else None


def _statuses(pod: Object) -> list[dict[str, Any]]:
    return [*(pod.status.get("initContainerStatuses") or ()), *(pod.status.get("containerStatuses") or ())]


def _told(events: list[Event], *reasons: str) -> str:
    found = [event for event in events if event.reason in reasons]
    return found[-1].message[:200] if found else ""
