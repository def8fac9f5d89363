"""What the users noticed: the effect of a fault at the entry, measured and not assumed."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_MIN_REQUESTS = 10
# Visible: a quarter slower and 20 ms at that, or a tenth of the answers failing that did not before.
_SLOWER, _SLOWER_MS, _FAILING = 1.25, 20.0, 0.1


@dataclass(frozen=True, slots=True)
class Effect:
    """One operation of the entry before and during the fault: median duration, ratio of failed answers, requests."""

    operation: str
    before_ms: float
    during_ms: float
    error_ratio_before: float
    error_ratio_during: float
    requests_before: int
    requests_during: int

    @property
    def visible(self) -> bool:
        """Whether a user of this operation would notice."""
        slower = self.during_ms > _SLOWER * self.before_ms and self.during_ms - self.before_ms > _SLOWER_MS
        return slower or self.error_ratio_during - self.error_ratio_before > _FAILING


def read_requests(path: Path) -> list[dict[str, Any]]:
    """Return what the load generator wrote: time_ns, operation, status (0: no answer), duration_ms."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def measure(requests: list[dict[str, Any]], start_ns: int, inject_ns: int, end_ns: int) -> list[Effect]:
    """Return the effect on each operation with enough requests on both sides, ordered by name."""
    sides: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = defaultdict(lambda: ([], []))
    for request in requests:
        if start_ns <= request["time_ns"] < end_ns:
            sides[request["operation"]][request["time_ns"] >= inject_ns].append(request)
    effects = []
    for operation, (before, during) in sorted(sides.items()):
        if min(len(before), len(during)) >= _MIN_REQUESTS:
            effects.append(
                Effect(
                    operation,
                    before_ms=_median_ms(before),
                    during_ms=_median_ms(during),
                    error_ratio_before=_error_ratio(before),
                    error_ratio_during=_error_ratio(during),
                    requests_before=len(before),
                    requests_during=len(during),
                )
            )
    return effects


def _median_ms(requests: list[dict[str, Any]]) -> float:
    return round(float(statistics.median(request["duration_ms"] for request in requests)), 1)


def _error_ratio(requests: list[dict[str, Any]]) -> float:
    # The entry answers 404 to a stale link: the user's mistake.
    failed = sum(bool(r["status"] == 0 or r["status"] >= 500) for r in requests)
    return round(failed / len(requests), 3)


def to_label(effects: list[Effect]) -> dict[str, Any]:
    """Return the fields of the label."""
    return {"effect_visible": any(e.visible for e in effects), "effect": [asdict(e) for e in effects]}
