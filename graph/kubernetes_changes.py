"""What was changed in a cluster, when and by whom, with differences; never the data of a Secret."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from hypocenter.legible import shortened

from ..tracer.kubernetes.times import to_ns
from .kubernetes import History
from .kubernetes_objects import Object

Verb = Literal["created", "changed", "rolled out", "rolled back", "scaled", "deleted"]
# Made and unmade by controllers all the time: what changes them is listed itself.
_FOLLOWERS: Final = frozenset({"Pod", "ReplicaSet", "EndpointSlice", "VolumeAttachment", "Event"})
# Written by controllers for themselves.
_LEADER: Final = "control-plane.alpha.kubernetes.io/leader"
_ROOT_CA: Final = "kube-root-ca.crt"
_RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
_ROLLING: Final = ("Deployment", "StatefulSet", "DaemonSet")
_TEMPLATE_HASH: Final = "pod-template-hash"
# What a controller fills in once.
_BOUND: Final = frozenset({("PersistentVolumeClaim", "volumeName"), ("PersistentVolume", "claimRef")})
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of a specification; None where it is absent on that side."""

    path: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.path}: {self.after} added"
        return (
            f"{self.path}: {self.before} removed"
            if self.after is None
            else f"{self.path}: {self.before} -> {self.after}"
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one object; ``by`` is the client that wrote it, None when unknown."""

    time_ns: int
    verb: Verb
    found: Object
    differences: tuple[Difference, ...] = ()
    by: str | None = None
    before: Object | None = None

    @property
    def text(self) -> str:
        """The change in a sentence."""
        said = "; ".join(shortened(str(d), 160) for d in self.differences[:3])
        more = f" and {len(self.differences) - 3} more" if len(self.differences) > 3 else ""
        by = f" by {self.by}" if self.by else ""
        return f"was {self.verb}{by}" + (f": {said}{more}" if said else "")


def changes_of(history: History) -> list[Change]:
    """Return the changes in the window of a history, in order of time; what controllers do on their own is left out."""
    found = [
        change
        for versions in history.versions.values()
        if _is_told(versions[-1])
        for change in _changes(history, versions)
        if history.window.start_ns <= change.time_ns < history.window.end_ns
    ]
    return sorted(found, key=lambda c: (c.time_ns, c.found.key))


def _is_told(found: Object) -> bool:
    if found.kind in _FOLLOWERS or found.name == _ROOT_CA or _LEADER in found.annotations:
        return False
    return not (found.owner_uid and found.kind == "Job")


def _changes(history: History, versions: list[Object]) -> Iterator[Change]:
    first, last = versions[0], versions[-1]
    if first.created_ns is not None and first.created_ns >= history.window.start_ns:
        yield Change(first.created_ns, "created", first, by=first.metadata.get("changedBy"))
    elif (written := _written_ns(first)) is not None:
        # Seen once only, yet it tells when it was written.
        yield from _from_one_version(history, first, written)
    for before, after in pairwise(versions):
        if (change := change_between(history, before, after)) is not None:
            yield change
    if last.valid_to_ns <= history.window.end_ns:
        yield Change(last.valid_to_ns, "deleted", last)


def change_between(history: History, before: Object, after: Object) -> Change | None:
    """Return the change from one version to the next; None when only the status changed."""
    time_ns, by = after.valid_from_ns, None
    written = _written_ns(after)
    if written is not None and written != _written_ns(before):
        by = after.metadata.get("changedBy")
    if after.kind == "Secret":
        if after.resource_version == before.resource_version:
            return None
        # Labels and annotations are all that can be compared.
        return Change(time_ns, "changed", after, by=by, before=before)
    if before.spec_digest == after.spec_digest:
        return None
    differences = tuple(d for d in differences_of(before, after) if (after.kind, d.path) not in _BOUND)
    if not differences:
        return None
    return Change(time_ns, _verb(history, after, differences), after, differences, by, before)


def _written_ns(found: Object) -> int | None:
    return to_ns(found.metadata.get("changedAt"))


def _from_one_version(history: History, found: Object, written_ns: int) -> Iterator[Change]:
    """Yield the change of an object that was seen once: the last rollout by its ReplicaSets, or that it was written."""
    if found.created_ns is not None and written_ns <= found.created_ns:
        return
    by = found.metadata.get("changedBy")
    if found.kind == "Deployment":
        made = [o for o in history.whole.owned(found, "ReplicaSet") if o.created_ns is not None]
        made.sort(key=lambda o: o.created_ns or 0)
        newest = made[-1] if len(made) > 1 else None
        if newest is not None and abs((newest.created_ns or 0) - written_ns) < 60 * 10**9:
            before, after = _without_hash(made[-2].template), _without_hash(newest.template)
            differences = tuple(_differences("template", before, after))
            yield Change(written_ns, "rolled out", found, differences, by)
            return
    yield Change(written_ns, "changed", found, by=by)


def _verb(history: History, after: Object, differences: tuple[Difference, ...]) -> Verb:
    if after.kind in _ROLLING and any(d.path.startswith("template") for d in differences):
        return "rolled back" if _is_rollback(history, after) else "rolled out"
    return "scaled" if [d.path for d in differences] == ["replicas"] else "changed"


def _is_rollback(history: History, after: Object) -> bool:
    """Tell whether a Deployment went back to the template of a ReplicaSet that is older than its newest."""
    sets = [o for o in history.whole.owned(after, "ReplicaSet") if o.created_ns is not None]
    wanted = _without_hash(after.template)
    used = [o for o in sets if _without_hash(o.template) == wanted]
    return bool(used) and any((o.created_ns or 0) > (used[0].created_ns or 0) for o in sets)


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {k: v for k, v in (metadata.get("labels") or {}).items() if k != _TEMPLATE_HASH}
    return {**template, "metadata": metadata}


def differences_of(before: Object, after: Object) -> Iterator[Difference]:
    """Yield what differs in the specifications of two versions, in order of path; nothing of a Secret."""
    if after.kind != "Secret":
        yield from _differences("", before.spec, after.spec)


def _differences(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(inner, before.get(key, _ABSENT), after.get(key, _ABSENT))
    elif isinstance(before, list) and isinstance(after, list) and (named := _named(before, after)):
        yield from _differences(path, *named)
    elif isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        yield from _lines(path, before, after)
    else:
        yield Difference(path, _shown(before), _shown(after))


def _named(*lists: list[Any]) -> list[dict[str, Any]] | None:
    """Return lists of named things by name, so that one more container is not a change of all."""
    if all(isinstance(one, dict) and "name" in one for each in lists for one in each):
        return [{f"[{one['name']}]": one for one in each} for each in lists]
    return None


def _lines(path: str, before: str, after: str) -> Iterator[Difference]:
    """Yield the lines of a text that differ, a file in a ConfigMap for one."""
    matcher = difflib.SequenceMatcher(None, old := before.splitlines(), new := after.splitlines(), autojunk=False)
    for what, i, j, k, m in matcher.get_opcodes():
        if what != "equal":
            yield Difference(f"{path} line {k + 1}", _joined(old[i:j]), _joined(new[k:m]))


def _joined(lines: list[str]) -> str | None:
    return " / ".join(line.strip() for line in lines) if lines else None


def _shown(value: Any) -> str | None:
    return None if value is _ABSENT else value if isinstance(value, str) else str(value)
