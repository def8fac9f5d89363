"""The plan of an incident: everything that the seed decides, before anything runs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from .cluster import pods
from .faults import KINDS, Fault

BASELINE_S, FAULT_S, RECOVERY_S = 40.0, 30.0, 3.0
# Targets that only the test half has, whatever the seed; the other targets are split by the seed.
TEST_TARGETS = frozenset({"cart", "review", "invoice", "checkout->cart", "gateway->account", "node-b"})


@dataclass(frozen=True)
class Incident:
    """One fault or several at once; ``struck`` names the pod of each, None where it is not one pod."""

    faults: tuple[Fault, ...]
    struck: tuple[str | None, ...]
    seed: int
    baseline_s: float
    fault_s: float
    recovery_s: float

    @property
    def kind(self) -> str:
        """The kinds, joined by a plus."""
        return "+".join(fault.name for fault in self.faults)

    @property
    def case(self) -> str:
        """The name of the recording."""
        kind = "quiet" if self.kind == "none" else self.kind.replace("+", "-and-")
        targets = [fault.target.replace("->", "-") for fault in self.faults if fault.target]
        return "-".join([kind, *targets, str(self.seed)])

    @property
    def split(self) -> str:
        """``train`` or ``test``."""
        held_out = any(fault.target in TEST_TARGETS for fault in self.faults)
        return "test" if held_out or self.seed % 2 == 0 else "train"

    def origin(self) -> list[dict[str, Any]]:
        """Return what is to blame, as precisely as each fault allows."""
        nodes = {pod.name: pod.node for pod in pods()}
        found = []
        for fault, pod in zip(self.faults, self.struck, strict=True):
            if fault.name != "none":
                is_edge, is_node = "->" in str(fault.target), fault.granularity == "node"
                found.append(
                    {
                        "granularity": fault.granularity,
                        "service": fault.service,
                        "pod": pod,
                        "node": fault.target if is_node else nodes.get(str(pod)),
                        "edge": fault.target if is_edge else None,
                        "change": fault.name if fault.granularity == "change" else None,
                        "indicator": fault.indicator,
                    }
                )
        return found

    def label(self) -> dict[str, Any]:
        """Return the label as far as the seed decides it; an empty list of causes: no service is at fault."""
        services = sorted({cause["service"] for cause in self.origin() if cause["service"]})
        for cause in self.origin():
            if cause["granularity"] == "node":
                services += sorted({p.service for p in pods() if p.node == cause["node"]} - {"bank"} - set(services))
        return {
            "case": self.case,
            "system": "lab",
            "fault_type": self.kind,
            "root_causes": services,
            "origin": self.origin(),
            "parameters": [fault.parameters for fault in self.faults],
            "seed": self.seed,
            "split": self.split,
            "baseline": {},
            "baseline_seconds_before_inject": self.baseline_s,
            "fault_seconds": self.fault_s,
            "reproduce": self.command(),
        }

    def command(self) -> str:
        """Return the command line that makes this plan again."""
        targets = "+".join(fault.target or "" for fault in self.faults)
        where = f" --target '{targets}'" if targets else ""
        return f"python -m sample_data.lab record --fault {self.kind}{where} --seed {self.seed} --out DIR"


def plan(
    fault: str = "none",
    target: str | None = None,
    seed: int = 1,
    *,
    baseline_s: float = BASELINE_S,
    fault_s: float = FAULT_S,
    recovery_s: float = RECOVERY_S,
) -> Incident:
    """Return the plan of an incident; equal arguments give equal plans.

    ``fault`` is a kind or several joined by a plus, ``target`` likewise, by default the first of each kind. Raises
    ValueError for an unknown kind, or a target that it cannot strike.
    """
    kinds = fault.split("+")
    targets: list[str | None] = list(target.split("+")) if target else [None] * len(kinds)
    if len(targets) != len(kinds):
        raise ValueError(f"expected a target for each of {len(kinds)} kinds, got {target!r}")
    faults, struck = [], []
    for name, wanted in zip(kinds, targets, strict=True):
        if name not in KINDS:
            raise ValueError(f"unknown fault {name!r}; known: {', '.join(KINDS)}")
        kind = KINDS[name]
        chosen = wanted or (kind.targets[0] if kind.targets else None)
        if chosen is not None and chosen not in kind.targets:
            raise ValueError(f"{name} cannot strike {chosen!r}; it strikes: {', '.join(kind.targets) or 'nothing'}")
        rng = random.Random(f"{seed}/{name}/{chosen}")
        faults.append(kind.draw(chosen, rng))
        own = [pod.name for pod in pods() if pod.service == chosen]
        struck.append(rng.choice(own) if own and kind.granularity in ("pod", "change", "service") else None)
    return Incident(tuple(faults), tuple(struck), seed, baseline_s, fault_s, recovery_s)
