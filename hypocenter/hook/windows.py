"""When to look: an alert comes later than what it tells of, by its rule's ``for`` and the window of its rates."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..tracer.window import MINUTE_NS, SECOND_NS
from .payload import Alert

# Before what is known to be the latest begin: 1 s scrapes, slow evaluation and slow growth of a fault.
MARGIN_NS = 10 * MINUTE_NS
# Where the rules cannot be asked: what most published rules say.
_USUAL_FOR_NS, _USUAL_RATE_NS = MINUTE_NS, MINUTE_NS
_RANGE = re.compile(r"\[((?:\d+(?:ms|[smhdwy]))+)(?::[^\]]*)?\]")
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_KEEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Rule:
    """``for_ns``: how long it must hold; ``rate_ns``: the widest range in its expression, 0 without one."""

    for_ns: int
    rate_ns: int


@dataclass(frozen=True, slots=True)
class Search:
    """``begin_ns``: nothing before it is a cause; ``at_ns``: first to be seen then; ``note``: what was guessed."""

    begin_ns: int
    at_ns: int
    note: str | None = None


def search_of(alerts: tuple[Alert, ...], rule: Rule | None, now_ns: int) -> Search:
    """Return where to search for the origin of ``alerts``, which fire together.

    The first ``startsAt`` counts; one in the future, by a clock that differs, counts as now.
    """
    starts = min((alert.starts_ns for alert in alerts if alert.starts_ns is not None), default=now_ns)
    starts = min(starts, now_ns)
    known = rule or Rule(_USUAL_FOR_NS, _USUAL_RATE_NS)
    # Pending began when the expression first held, for which part of the rate's window had to be bad already.
    at = starts - known.for_ns - known.rate_ns // 2
    begin = starts - known.for_ns - known.rate_ns - MARGIN_NS
    return Search(begin, at, None if rule else "not known; for 1m and rates over 1m assumed")


def rate_window_ns(query: str) -> int:
    """Return the widest range selector of a PromQL expression in nanoseconds, 0 without one.

    >>> rate_window_ns('rate(errors_total[5m]) / rate(all_total[1m30s]) > 0.1') // 10**9
    300
    """
    return max((round(_seconds(text) * SECOND_NS) for text in _RANGE.findall(query)), default=0)


def _seconds(text: str) -> float:
    return sum(int(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))


@dataclass
class Rules:
    """The alerting rules of a Prometheus, asked in the background so that no alert waits for them."""

    url: str
    client: httpx.AsyncClient
    clock: Callable[[], float] = time.monotonic
    _found: dict[str, Rule] = field(default_factory=dict)
    _asked: float | None = None

    def get(self, name: str) -> Rule | None:
        """Return the rule of an alert's name, None when it is not known."""
        return self._found.get(name)

    @property
    def is_stale(self) -> bool:
        """Whether it is time to ask again."""
        return self._asked is None or self.clock() - self._asked > _KEEP_S

    async def refresh(self) -> None:
        """Ask Prometheus; raises httpx.HTTPError or ValueError, after which what was known stays."""
        self._asked = self.clock()
        answer = await self.client.get(f"{self.url.rstrip('/')}/api/v1/rules", params={"type": "alert"})
        answer.raise_for_status()
        self._found = read_rules(answer.json())


def read_rules(answer: Any) -> dict[str, Rule]:
    """Return rules by alert name from the answer of ``/api/v1/rules``; of equal names the widest counts."""
    found: dict[str, Rule] = {}
    groups = answer.get("data", {}).get("groups", []) if isinstance(answer, dict) else []
    for rule in (rule for group in groups for rule in group.get("rules", []) if rule.get("type") == "alerting"):
        new = Rule(round(float(rule.get("duration") or 0) * SECOND_NS), rate_window_ns(str(rule.get("query", ""))))
        old = found.get(str(rule.get("name")), new)
        found[str(rule.get("name"))] = Rule(max(new.for_ns, old.for_ns), max(new.rate_ns, old.rate_ns))
    return found
