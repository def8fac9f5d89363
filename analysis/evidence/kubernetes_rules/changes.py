"""Changes that somebody made: rollouts, scaling, configuration, deletions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ....graph.kubernetes_changes import Change, changes_of
from ....graph.kubernetes_objects import WORKLOADS, Object
from .rule import Rule, Sign, View, kubectl, quoted, short

_CONFIGURATION: Final = ("ConfigMap", "Secret")
_NATS: Final = {"rolled out": 4.0, "rolled back": 4.0, "scaled": 3.0, "changed": 3.0, "deleted": 5.0, "created": 1.5}
# What merely exists newly changes nothing for others, save what rules them.
_RULING: Final = ("NetworkPolicy", "ResourceQuota", "LimitRange", "Ingress", "HorizontalPodAutoscaler")
_TOGETHER_NS: Final = 60 * 10**9
_EXPLAINED_BY_OTHERS: Final = ("Node", "Namespace", "Job", "PersistentVolume")


def _changed(view: View, versions: list[Object]) -> Iterator[Sign]:
    uid = versions[0].uid
    for change in _by_uid(view).get(uid, ()):
        sign = _sign(view, change)
        if sign is not None:
            yield sign


def _by_uid(view: View) -> dict[str, list[Change]]:
    cached: dict[str, list[Change]] | None = view.__dict__.get("_changes")
    if cached is None:
        cached = {}
        for change in changes_of(view.history):
            cached.setdefault(change.found.uid, []).append(change)
        view.__dict__["_changes"] = cached
    return cached


def _sign(view: View, change: Change) -> Sign | None:
    found, nats = change.found, _NATS[change.verb]
    if found.kind in _EXPLAINED_BY_OTHERS or (change.verb == "created" and not _rules(view, change)):
        return None
    users = _users(view, found)
    if found.kind in _CONFIGURATION:
        if not users:
            return None
        nats = 5.5 if change.verb == "deleted" else 4.0
    if change.verb == "deleted" and found.kind in WORKLOADS and found.owner_uid:
        return None
    if change.verb == "scaled":
        nats, text = _scaled(change)
    else:
        text = change.text
    used = f"; {_listed(users)} use{'s' if len(users) == 1 else ''} it" if users else ""
    cut = change.verb == "deleted" and found.kind == "Service"
    services = view.with_callers(view.join.services(found)) if cut else None
    said = short(text + used, 400)
    return Sign(change.time_ns, said, _command(change), nats=nats, group=change.verb, services=services)


def _rules(view: View, change: Change) -> bool:
    """Tell whether what was made rules workloads that were there before: what comes with them changes nothing."""
    found = change.found
    return found.kind in _RULING and any(
        (one.created_ns or 0) < change.time_ns - _TOGETHER_NS
        for one in view.whole.of(*WORKLOADS)
        if one.namespace == found.namespace
    )


def _scaled(change: Change) -> tuple[float, str]:
    before, after = (int(getattr(change.differences[0], side) or 0) for side in ("before", "after"))
    by = f" by {change.by}" if change.by else ""
    nats = 6.5 if after == 0 else 3.0 if after < before else 1.0
    return nats, f"was scaled from {before} to {after}{by}"


def _users(view: View, found: Object) -> list[str]:
    """Return the workloads whose pods mount a configuration or read it."""
    if found.kind not in _CONFIGURATION:
        return []
    users: dict[str, None] = {}
    for edge in view.whole.into.get(found.key, ()):
        user = view.whole.by_key.get(edge.source)
        if user is not None:
            root = view.whole.root(user)
            users[f"{root.kind} {root.name}"] = None
    return sorted(users)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _command(change: Change) -> str:
    found = change.found
    if change.verb in ("rolled out", "rolled back") and found.kind in ("Deployment", "StatefulSet", "DaemonSet"):
        return kubectl("rollout history", found)
    if change.verb == "deleted":
        space = f"-n {quoted(found.namespace)} " if found.namespace else ""
        return f"kubectl {space}get events --field-selector involvedObject.name={quoted(found.name)}"
    if found.kind == "Secret":
        return kubectl("describe", found)
    return kubectl("get", found, "-o", "yaml", "--show-managed-fields")


CHANGES: Final = (
    Rule(
        "change",
        (
            *("Deployment", "StatefulSet", "DaemonSet", "CronJob", "ConfigMap", "Secret", "Service", "Ingress"),
            *("NetworkPolicy", "HorizontalPodAutoscaler", "ResourceQuota", "LimitRange", "StorageClass"),
            *("PersistentVolumeClaim", "PodDisruptionBudget", "IngressClass", "Gateway", "HTTPRoute", "GRPCRoute"),
        ),
        3.0,
        "change",
        _changed,
    ),
)
