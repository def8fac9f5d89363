"""The kinds of fault that can be put into the shop, where each strikes, and how strong the seed may make it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Literal

from .wiring import CALLS, DATABASE

Place = Literal["nothing", "replica", "process", "database", "edge"]
# The step that a code fault leaves out, with its call and its log line.
STEPS = {"checkout": "reserve", "payment": "book", "shipping": "ship"}
EDGES = tuple(f"{caller}->{callee}" for caller, callees in CALLS.items() for callee in callees if callee != DATABASE)


@dataclass(frozen=True, slots=True)
class FaultKind:
    """``strength``: the range of each parameter, drawn evenly by the seed; the first target is the default."""

    name: str
    place: Place
    targets: tuple[str, ...]
    meaning: str
    strength: dict[str, tuple[float, float]] = field(default_factory=dict)

    def draw(self, rng: random.Random) -> dict[str, Any]:
        """Return the parameters of one fault, rounded so that a label is readable."""
        return {key: round(rng.uniform(low, high), 3) for key, (low, high) in self.strength.items()}


_SERVICES = tuple(CALLS)
KINDS: dict[str, FaultKind] = {
    kind.name: kind
    for kind in (
        FaultKind("none", "nothing", (), "a quiet window"),
        FaultKind(
            "slow-service",
            "replica",
            ("payment", *(s for s in _SERVICES if s != "payment")),
            "every request waits in the handler, log-normally around delay_s",
            {"delay_s": (0.2, 0.45)},
        ),
        FaultKind(
            "failing-service",
            "replica",
            ("shipping", *(s for s in _SERVICES if s != "shipping")),
            "a share of the requests raises an exception in the handler",
            {"share": (0.35, 0.7)},
        ),
        FaultKind(
            "cpu-burn",
            "replica",
            ("recommendation", *(s for s in _SERVICES if s != "recommendation")),
            "runaway threads in the process",
            {"threads": (3, 8)},
        ),
        FaultKind("code-fault", "replica", tuple(STEPS), "the code skips a step and its log line, and reports success"),
        FaultKind("slow-database", "database", (DATABASE,), "the index of the stock table is dropped: full scans"),
        FaultKind(
            "locked-database",
            "database",
            (DATABASE,),
            "a session locks the cart table again and again for hold_s, with half as long a pause",
            {"hold_s": (0.6, 1.4)},
        ),
        FaultKind(
            "network-delay",
            "edge",
            ("checkout->payment", *(edge for edge in EDGES if edge != "checkout->payment")),
            "bytes between caller and callee arrive delay_s late, in each direction",
            {"delay_s": (0.1, 0.25)},
        ),
        FaultKind(
            "crash",
            "process",
            ("cart", *(s for s in _SERVICES if s not in ("cart", "gateway"))),
            "the process is killed and comes back after down_s, again and again",
            {"down_s": (4.0, 7.0)},
        ),
    )
}
