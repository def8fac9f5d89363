"""Pods that do not run: crashing, killed, unable to start, unready, evicted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ....graph.kubernetes_objects import Object
from ....tracer.kubernetes.times import to_ns
from .nodes import newly_tainted
from .rule import Rule, Sign, View, container_spec, containers, kubectl, lasted_s, over, quoted, runs, short

_IMAGE: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_CONFIG: Final = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")
# A container takes some time to become ready; a start is no failure.
_LEAST_UNREADY_S: Final = 30.0
_BY_TAINT: Final = "DeletionByTaintManager"
_EXITS_OF_A_SIGNAL: Final = (143,)  # asked to stop


def _waiting(status: dict[str, Any]) -> dict[str, Any]:
    return (status.get("state") or {}).get("waiting") or {}


def _terminations(versions: list[Object]) -> Iterator[tuple[Object, str, dict[str, Any], dict[str, Any]]]:
    """Yield each failed end of a container once: the pod's version, role, status and how it ended."""
    seen = set()
    for pod in versions:
        for role, status in containers(pod):
            for state in (status.get("lastState"), status.get("state")):
                ended = (state or {}).get("terminated") or {}
                key = (status.get("name"), ended.get("finishedAt"), ended.get("exitCode"))
                if ended and ended.get("exitCode") and key not in seen:
                    seen.add(key)
                    yield pod, role, status, ended


def _killed_for_memory(view: View, versions: list[Object]) -> Iterator[Sign]:
    for pod, role, status, ended in _terminations(versions):
        if ended.get("reason") == "OOMKilled" and (onset := to_ns(ended.get("finishedAt"))):
            name = str(status.get("name"))
            limit = ((container_spec(pod, name).get("resources") or {}).get("limits") or {}).get("memory")
            of = f" at its limit of {limit}" if limit else " without a limit of its own: the node ran out"
            yield Sign(onset, f"{role} {name} was killed for its memory{of}", kubectl("describe", pod), group=name)


def _crashing(view: View, versions: list[Object]) -> Iterator[Sign]:
    for pod, role, status, ended in _terminations(versions):
        onset, name = to_ns(ended.get("finishedAt")), str(status.get("name"))
        asked = ended.get("exitCode") in _EXITS_OF_A_SIGNAL or pod.metadata.get("deletionTimestamp")
        is_job = pod.spec.get("restartPolicy") == "Never" and role == "container"
        if ended.get("reason") == "OOMKilled" or asked or is_job or onset is None:
            continue
        last = versions[-1]
        restarts = max(
            (int(s.get("restartCount") or 0) for _, s in containers(last) if s.get("name") == name), default=0
        )
        why = short(ended.get("message") or ended.get("reason") or "Error", 120)
        text = f"{role} {name} exits with code {ended['exitCode']} ({why}), restarted {restarts} times"
        more = ("-c", quoted(name), "--previous", "--tail=100")
        yield Sign(onset, text, kubectl("logs", pod, *more), group=name)


def _image(view: View, versions: list[Object]) -> Iterator[Sign]:
    yield from _stuck(view, versions, _IMAGE, "cannot pull {image}: {reason}")


def _configuration(view: View, versions: list[Object]) -> Iterator[Sign]:
    yield from _stuck(view, versions, _CONFIG, "cannot start: {reason}")


def _stuck(view: View, versions: list[Object], reasons: tuple[str, ...], text: str) -> Iterator[Sign]:
    def waits(pod: Object) -> tuple[str, dict[str, Any]] | None:
        return next(((role, s) for role, s in containers(pod) if _waiting(s).get("reason") in reasons), None)

    for run, (role, status) in runs(versions, waits):
        pod, waiting = run[0], _waiting(status)
        name = str(status.get("name"))
        onset = pod.valid_from_ns if pod is not versions[0] else _scheduled_ns(pod)
        image = container_spec(pod, name).get("image") or status.get("image")
        reason = short(waiting.get("message") or waiting.get("reason"), 160)
        said = text.format(image=image, reason=reason) if "{image}" in text else text.format(reason=reason)
        until = over(view, run)
        yield Sign(onset, f"{role} {name} {said}", kubectl("describe", pod), group=name, until_ns=until)


def _scheduled_ns(pod: Object) -> int:
    """Return when a pod came to its node, else when it was made."""
    return to_ns(pod.condition("PodScheduled").get("lastTransitionTime")) or pod.valid_from_ns


def _probe(view: View, versions: list[Object]) -> Iterator[Sign]:
    pod = versions[-1]
    failed = view.history.events_of(pod, "Unhealthy")
    said = _said(pod, failed[-1].message) if failed else None
    is_unready = False
    for run, since in runs(versions, _unready_since):
        if failed or lasted_s(view, run, since) >= _LEAST_UNREADY_S:
            is_unready = True
            text = said or "a container runs but is not ready, and no event says which probe fails"
            yield Sign(since, text, kubectl("describe", run[0]), group="probe", until_ns=over(view, run))
    killed = [e for e in failed if "iveness" in e.message or "tartup" in e.message]
    if killed and not is_unready:
        text = _said(pod, killed[0].message)
        yield Sign(killed[0].first_ns, text, kubectl("describe", pod), group="probe")


def _said(pod: Object, message: str) -> str:
    """Return what an event says of a probe, and what the probe allows: it may be too strict."""
    named = f"{message.partition(' ')[0].lower()}Probe"
    every = (one for one in pod.spec.get("containers") or () if isinstance(one.get(named), dict))
    probe = next((one[named] for one in every), None)
    if probe is None:
        return short(message, 160)
    timeout_s, times = probe.get("timeoutSeconds", 1), probe.get("failureThreshold", 3)
    return f"{short(message, 160)} (it allows {timeout_s} s, and {times} failures in a row)"


def _unready_since(pod: Object) -> int | None:
    """Return since when a running pod is not ready."""
    if pod.status.get("phase") != "Running" or pod.metadata.get("deletionTimestamp"):
        return None
    ready = pod.condition("Ready")
    if ready.get("status") != "False":
        return None
    runs_unready = any(
        not s.get("ready") and "running" in (s.get("state") or {})
        for role, s in containers(pod)
        if role != "init container"
    )
    return (to_ns(ready.get("lastTransitionTime")) or pod.valid_from_ns) if runs_unready else None


def _evicted(view: View, versions: list[Object]) -> Iterator[Sign]:
    for run, _ in runs(versions, lambda pod: pod.status.get("reason") == "Evicted"):
        pod = run[0]
        told = view.history.events_of(pod, "Evicted")
        target = to_ns(pod.condition("DisruptionTarget").get("lastTransitionTime"))
        onset = target or (told[0].first_ns if told else pod.valid_from_ns)
        yield Sign(onset, f"was evicted: {short(pod.status.get('message'), 160)}", kubectl("describe", pod))
    for run, reason in runs(versions, lambda pod: pod.condition("DisruptionTarget").get("reason")):
        pod = run[0]
        if pod.status.get("reason") != "Evicted":
            onset = to_ns(pod.condition("DisruptionTarget").get("lastTransitionTime")) or pod.valid_from_ns
            why = short(pod.condition("DisruptionTarget").get("message") or reason, 160)
            node = newly_tainted(view, str(pod.spec.get("nodeName"))) if reason == _BY_TAINT else None
            if node is None:
                yield Sign(onset, f"is taken off its node: {why}", kubectl("describe", pod))
            else:
                services = tuple(view.join.services(pod))
                text = f"throws out its pods for its taint: {pod.name}"
                yield Sign(onset, text, kubectl("describe", node), about=node, services=services)


def _sandbox(view: View, versions: list[Object]) -> Iterator[Sign]:
    told = view.history.events_of(versions[-1], "FailedCreatePodSandBox", "NetworkNotReady")
    if told:
        text = f"has no network on its node: {short(told[-1].message, 160)}"
        yield Sign(told[0].first_ns, text, kubectl("describe", versions[-1]))


def _lost(view: View, versions: list[Object]) -> Iterator[Sign]:
    for run, _ in runs(
        versions, lambda pod: pod.status.get("reason") == "NodeLost" or pod.status.get("phase") == "Unknown"
    ):
        yield Sign(run[0].valid_from_ns, "is on a node that nobody hears from", kubectl("describe", run[0]))


def _terminating(view: View, versions: list[Object]) -> Iterator[Sign]:
    for run, text in runs(versions, lambda one: one.metadata.get("deletionTimestamp")):
        onset = to_ns(text)
        held = ", ".join(run[-1].metadata.get("finalizers") or ()) or ", ".join(run[-1].spec.get("finalizers") or ())
        if onset is None or lasted_s(view, run, onset) < 60 or (not held and run[0].kind != "Pod"):
            continue
        why = f"finaliser {held} holds it" if held else "its node does not confirm the end"
        gone = run[-1]
        yield Sign(onset, f"is being deleted and does not go: {why}", kubectl("get", gone, "-o", "yaml"))


PODS: Final = (
    Rule("out of memory", ("Pod",), 6.0, "pod", _killed_for_memory),
    Rule("crashing", ("Pod",), 4.5, "pod", _crashing),
    Rule("image pull", ("Pod",), 6.0, "pod", _image),
    Rule("container configuration", ("Pod",), 6.0, "pod", _configuration),
    Rule("probe failing", ("Pod",), 3.5, "pod", _probe),
    Rule("evicted", ("Pod",), 5.0, "pod", _evicted),
    Rule("pod network", ("Pod",), 5.0, "pod", _sandbox),
    Rule("node lost", ("Pod",), 3.0, "pod", _lost),
    Rule(
        "stuck in deletion",
        ("Pod", "Namespace", "PersistentVolumeClaim", "PersistentVolume", "Job", "Service"),
        3.0,
        "object",
        _terminating,
    ),
)
