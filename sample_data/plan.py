"""The plan of a recording: everything that the seed decides, before any process exists."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Any

from .faults import KINDS, STEPS, FaultKind
from .wiring import CALLS, DATABASE, NODES, REPLICAS

VERSIONS = ("1.4.0", "1.4.1", "1.5.2", "2.0.3")
_POD_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Pod:
    """One replica, or the database, as the telemetry names it."""

    service: str
    name: str
    node: str
    version: str

    @property
    def instance(self) -> str:
        """The service.instance.id: a UUID of the name, so that the plan knows it before the process exists."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name))


@dataclass(frozen=True, slots=True)
class Plan:
    """``pod`` is set where the fault strikes one pod alone; seconds count from the beginning of the load."""

    case: str
    kind: FaultKind
    target: str | None
    pod: str | None
    parameters: dict[str, Any]
    seed: int
    warmup_s: float
    baseline_s: float
    during_s: float
    recovery_s: float
    users: int
    think_s: float
    pods: tuple[Pod, ...]

    @property
    def inject_s(self) -> float:
        """When the fault begins."""
        return self.warmup_s + self.baseline_s

    @property
    def end_s(self) -> float:
        """When the recording ends."""
        return self.inject_s + self.during_s + self.recovery_s

    @property
    def root_cause(self) -> str | None:
        """The service to blame: of an edge the callee, as public recordings label it."""
        return self.target.split("->")[-1] if self.target else None

    def label(self, inject_time_epoch_s: float) -> dict[str, Any]:
        """Return the line of CASES.jsonl as far as it is known before the recording is measured."""
        folder = f"incidents/{self.case}"
        return {
            "case": self.case,
            "system": "shop",
            "fault_type": self.kind.name,
            "inject_time_epoch_s": inject_time_epoch_s,
            "root_cause_service": self.root_cause,
            "root_cause_pod": self.pod,
            "root_cause_indicator": self.target if self.kind.place == "edge" else None,
            "parameters": self.parameters,
            "seed": self.seed,
            "paths": {
                "metrics": [f"{folder}/metrics.om.gz"],
                "traces": [f"{folder}/traces.jsonl.gz"],
                "logs": [f"{folder}/logs.jsonl.gz"],
            },
            "baseline": {},
            "baseline_seconds_before_inject": self.baseline_s,
            "reproduce": self.command(),
        }

    def command(self) -> str:
        """Return the command line that makes this plan again."""
        target = f" --target '{self.target}'" if self.target else ""
        return (
            f"python -m sample_data record --fault {self.kind.name}{target} --seed {self.seed}"
            f" --warmup {self.warmup_s:g} --baseline {self.baseline_s:g} --during {self.during_s:g}"
            f" --recovery {self.recovery_s:g} --users {self.users} --think {self.think_s:g}"
        )


def plan(
    fault: str = "none",
    target: str | None = None,
    seed: int = 1,
    *,
    warmup_s: float = 20,
    baseline_s: float = 120,
    during_s: float = 90,
    recovery_s: float = 0,
    users: int = 8,
    think_s: float = 2.0,
) -> Plan:
    """Return the plan of a recording; equal arguments give equal plans.

    ``target`` is a service, an edge ``caller->callee`` or ``store-db``, by default the kind's first; with two replicas
    the seed strikes one of them. Raises ValueError for an unknown fault, or a target that the fault cannot strike.
    """
    if fault not in KINDS:
        raise ValueError(f"unknown fault {fault!r}; known: {', '.join(KINDS)}")
    kind = KINDS[fault]
    chosen = target or (kind.targets[0] if kind.targets else None)
    if chosen is not None and chosen not in kind.targets:
        raise ValueError(f"{fault} cannot strike {chosen!r}; it strikes: {', '.join(kind.targets) or 'nothing'}")
    pods = _pods(random.Random(f"{seed}/pods"))
    rng = random.Random(f"{seed}/{fault}/{chosen}")
    parameters = kind.draw(rng)
    if fault == "code-fault" and chosen:
        parameters["step"] = STEPS[chosen]
    own = [pod.name for pod in pods if pod.service == chosen]
    pod = rng.choice(own) if own and kind.place in ("replica", "process", "database") else None
    words = [fault if fault != "none" else "quiet", *([chosen.replace("->", "-")] if chosen else []), str(seed)]
    return Plan(
        case="-".join(words),
        kind=kind,
        target=chosen,
        pod=pod,
        parameters=parameters,
        seed=seed,
        warmup_s=warmup_s,
        baseline_s=baseline_s,
        during_s=during_s,
        recovery_s=recovery_s,
        users=users,
        think_s=think_s,
        pods=pods,
    )


def _pods(rng: random.Random) -> tuple[Pod, ...]:
    def letters(count: int) -> str:
        return "".join(rng.choice(_POD_LETTERS) for _ in range(count))

    pods: list[Pod] = []
    for service in CALLS:
        revision, version = letters(10), rng.choice(VERSIONS)
        for number in range(REPLICAS[service]):
            # Replicas are spread, as a scheduler would.
            node = NODES[(number + len(pods)) % len(NODES)]
            pods.append(Pod(service, f"{service}-{revision}-{letters(5)}", node, version))
    return (*pods, Pod(DATABASE, f"{DATABASE}-0", NODES[-1], "15"))
