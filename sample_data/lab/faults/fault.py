"""What a kind of fault is: where it may strike, how strong, how it begins and ends, and what the label says."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, ClassVar

from ..wiring import SERVICES, edges

if TYPE_CHECKING:
    from ..lab import Lab

PYTHON = tuple(name for name, wired in SERVICES.items() if wired.language == "python")
SERVING = tuple(name for name, wired in SERVICES.items() if any(e.split()[0] != "queue" for e in wired.endpoints))
HTTP_EDGES = tuple(f"{a}->{b}" for a, b in sorted(edges()) if b in SERVICES and not a.startswith("queue"))


class Fault:
    """One fault at one target. Subclasses set the class attributes and `begin`; they say in one line what happens.

    ``targets`` (the first is the default) are services, servers, nodes or edges ``caller->callee``; ``strength`` holds
    the range of each parameter, from which the seed draws evenly; ``granularity`` is what a label may be precise to;
    ``needs_namespaces`` tells that it takes a pod's own network or volume.
    """

    name: ClassVar[str] = ""
    meaning: ClassVar[str] = ""
    targets: ClassVar[tuple[str, ...]] = ()
    strength: ClassVar[dict[str, tuple[float, float]]] = {}
    granularity: ClassVar[str] = "service"
    indicator: ClassVar[str | None] = None
    # On loopback it would strike this machine's own routes or disk, or nothing.
    needs_namespaces: ClassVar[bool] = False

    def __init__(self, target: str | None, parameters: dict[str, float]) -> None:
        self.target, self.parameters = target, parameters

    @classmethod
    def draw(cls, target: str | None, rng: random.Random) -> Fault:
        """Return the fault at ``target`` with the strength that ``rng`` draws."""
        return cls(target, {key: round(rng.uniform(*ends), 3) for key, ends in cls.strength.items()})

    @property
    def service(self) -> str | None:
        """The service or server to blame, None where none is: of an edge the callee."""
        return self.target.split("->")[-1] if self.target else None

    def prepare(self, lab: Lab) -> None:
        """Do what takes time and harms nobody yet."""

    def begin(self, lab: Lab) -> None:
        """Switch the fault on."""

    def step(self, lab: Lab, since_s: float) -> None:
        """Do what happens in between; called several times a second while the fault lasts."""

    def end(self, lab: Lab) -> None:
        """Switch the fault off and mend what it broke."""


class Inside(Fault):
    """A fault inside the process of one pod, which reads ``effect`` from its file (see service/hurt.py)."""

    effect: ClassVar[str] = ""
    granularity = "pod"
    targets = SERVING

    def begin(self, lab: Lab) -> None:
        run = lab.struck(self)
        lab.cluster.hurt(run, {self.effect: {**self.parameters, "since": time.time()}})

    def end(self, lab: Lab) -> None:
        lab.cluster.hurt(lab.struck(self), {})
