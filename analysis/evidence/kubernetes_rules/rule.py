"""What a rule is, and the small words that rules are written in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from hypocenter.legible import shortened

from ....graph.kubernetes import Cluster, History
from ....graph.kubernetes_objects import Object
from ....graph.kubernetes_services import ServiceJoin

SECOND_NS: Final = 10**9
EntityKind = Literal["object", "pod", "node", "change"]
# What people paste into a shell is a name, or is quoted.
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")


@dataclass(frozen=True, slots=True)
class Sign:
    """What a rule sees of an object: since when, a sentence with figures, the one next command.

    ``about`` is the object that is to blame where it is not the one looked at, ``nats`` how much it incriminates where
    that differs from the rule's own, ``group`` what tells it from other signs of the same rule about one workload.
    ``until_ns`` is when it was over, None while it lasts and of what does not pass. ``notice_ns`` is how long the
    cluster may wait before it takes note.
    """

    onset_ns: int
    text: str
    command: str
    about: Object | None = None
    nats: float | None = None
    group: str = ""
    services: tuple[str, ...] | None = None
    until_ns: int | None = None
    notice_ns: int = 0


@dataclass(frozen=True)
class View:
    """What rules look at: the history of the cluster, whom objects bear on, and the calls that the graph had.

    ``heard_ns`` is the time of the last telemetry: what was watched until then and told of no change had none.
    """

    history: History
    join: ServiceJoin
    calls: Sequence[tuple[str, str]] = ()
    heard_ns: int = 0

    @cached_property
    def end(self) -> Cluster:
        """The cluster at the end of the window."""
        return self.history.at(self.end_ns)

    @property
    def end_ns(self) -> int:
        """The last moment that is looked at: that of the window, or of what was collected or heard."""
        return min(self.history.window.end_ns - 1, max(self.history.collected_ns, self.heard_ns))

    @property
    def whole(self) -> Cluster:
        """Every object of the window in its last version."""
        return self.history.whole

    def with_callers(self, services: Iterable[str]) -> tuple[str, ...]:
        """Return services with those that called them, sorted: who finds no way to a service fails itself."""
        found = set(services)
        return tuple(sorted(found | {caller for caller, callee in self.calls if callee in found}))


Check = Callable[[View, list[Object]], Iterable[Sign]]


@dataclass(frozen=True)
class Rule:
    """``check`` is given the versions of one object of ``kinds`` and yields what it sees.

    ``nats`` is how much a sign at the onset incriminates: 6 what alone stops a service, 4 a change or a failure that
    may as well be an effect, 2 or less what only accompanies. ``entity_kind`` is the kind of the candidate.
    """

    name: str
    kinds: tuple[str, ...]
    nats: float
    entity_kind: EntityKind
    check: Check = field(repr=False)


def runs(versions: list[Object], holds: Callable[[Object], Any]) -> Iterator[tuple[list[Object], Any]]:
    """Yield the runs of versions in which ``holds`` is true, with what it returned for the first of them."""
    run: list[Object] = []
    first: Any = None
    for version in versions:
        value = holds(version)
        if value:
            first = first if run else value
            run.append(version)
        elif run:
            yield run, first
            run = []
    if run:
        yield run, first


def over(view: View, run: list[Object]) -> int | None:
    """Return when a run was over, None when it lasts to the end of the window."""
    return run[-1].valid_to_ns if run[-1].valid_to_ns <= view.end_ns else None


def lasted_s(view: View, run: list[Object], since_ns: int) -> float:
    """Return how long a run went on since a time, up to the end of the window."""
    return (min(run[-1].valid_to_ns, view.end_ns) - since_ns) / SECOND_NS


def containers(pod: Object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (role, status) of the containers of a pod: ``init container``, ``sidecar`` or ``container``."""
    restarting = {c.get("name") for c in pod.spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    for status in pod.status.get("initContainerStatuses") or ():
        yield ("sidecar" if status.get("name") in restarting else "init container"), status
    for status in pod.status.get("containerStatuses") or ():
        yield "container", status


def container_spec(pod: Object, name: str) -> dict[str, Any]:
    """Return a container's specification, empty when there is none of the name."""
    listed = (*(pod.spec.get("containers") or ()), *(pod.spec.get("initContainers") or ()))
    return next((c for c in listed if c.get("name") == name), {})


def kubectl(verb: str, found: Object, *more: str) -> str:
    """Return a command about an object.

    >>> row = dict(kind="Pod", uid="", namespace="shop", name="cart-0", owner_uid=None, spec_digest="", status=None)
    >>> row |= dict(resource_version="", valid_from_ns=0, valid_to_ns=None, created_ns=0, labels=None, spec=None)
    >>> kubectl("logs", Object(row), "--previous"), kubectl("describe", Object(row))
    ('kubectl -n shop logs cart-0 --previous', 'kubectl -n shop describe pod cart-0')
    """
    space = ["-n", quoted(found.namespace)] if found.namespace else []
    kind, name = found.kind.lower(), quoted(found.name)
    if verb == "logs":
        what = name if kind == "pod" else f"{kind}/{name}"
    else:
        what = f"{kind}/{name}" if verb.startswith("rollout") else f"{kind} {name}"
    return " ".join(["kubectl", *space, verb, what, *more])


def quoted(name: str) -> str:
    """Return a name as a shell takes it."""
    return name if _PLAIN.fullmatch(name) else shlex.quote(name)


def short(text: object, most: int = 200) -> str:
    """Return text on one line, cut.

    >>> short("a\\nb   c", 4)
    'a b…'
    """
    return shortened(" ".join(str(text or "").split()), most)
