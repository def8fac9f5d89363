"""When to look: an alert comes later than what it tells of, by its rule's ``for`` and the window of its rates."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, replace
from typing import Any

from ..analysis.onset import EARLIEST_NS, LATEST_NS
from ..tracer.window import MINUTE_NS, SECOND_NS, to_rfc3339
from .payload import Alert

# Before what is known to be the latest begin: 1 s scrapes, slow evaluation and slow growth of a fault.
MARGIN_NS = 10 * MINUTE_NS
# Where the rules cannot be asked: what most published rules say.
_USUAL_FOR_NS, _USUAL_RATE_NS = MINUTE_NS, MINUTE_NS
_RANGE = re.compile(r"\[((?:\d+(?:ms|[smhdwy]))+)(?::[^\]]*)?\]")
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_KEEP_S = 60.0
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Rule:
    """``for_ns``: how long it must hold; ``rate_ns``: the widest range in its expression, 0 without one."""

    for_ns: int
    rate_ns: int


@dataclass(frozen=True, slots=True)
class Search:
    """``at_ns``: what the ranking is told as the alert's time; ``note``: what was guessed, or is not looked at."""

    at_ns: int
    note: str | None = None


def search_of(alerts: tuple[Alert, ...], rule: Rule | None, now_ns: int) -> Search:
    """Return where to search for the origin of ``alerts``, which fire together.

    The first ``startsAt`` counts; one in the future, by a clock that differs, counts as now.
    """
    starts = min((alert.starts_ns for alert in alerts if alert.starts_ns is not None), default=now_ns)
    starts = min(starts, now_ns)
    known = rule or Rule(_USUAL_FOR_NS, _USUAL_RATE_NS)
    # Pending began when the expression first held, for which part of the rate's window had to be bad already; an onset
    # is looked for from 15 min before to 5 min after what the ranking is told, and the end of pending must lie in that.
    pending = starts - known.for_ns
    at = pending - min(known.rate_ns // 2, LATEST_NS)
    begin = pending - known.rate_ns - MARGIN_NS
    if rule is None:
        return Search(at, "not known; for 1m and rates over 1m assumed")
    if begin < at - EARLIEST_NS:
        return Search(at, f"its rates reach further back than {to_rfc3339(at - EARLIEST_NS)[11:16]} UTC")
    return Search(at)


def rate_window_ns(query: str) -> int:
    """Return the widest range selector of a PromQL expression in nanoseconds, 0 without one.

    >>> rate_window_ns('rate(errors_total[5m]) / rate(all_total[1m30s]) > 0.1') // 10**9
    300
    """
    return max((round(_seconds(text) * SECOND_NS) for text in _RANGE.findall(query)), default=0)


def _seconds(text: str) -> float:
    return sum(int(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))


class Rules:
    """The alerting rules of a Prometheus, asked in the background so that no alert waits for them.

    ``section`` is an address, or a mapping as in `hypocenter.hook.config.Config.prometheus`.
    """

    def __init__(self, section: Any) -> None:
        from ..tracer.pull.server import Server
        from ..tracer.pull.settings import Settings

        given = Settings.of("prometheus", section)
        access = replace(given.access, timeout_s=min(given.access.timeout_s, _TIMEOUT_S))
        self._server = Server(given.url, access, "Prometheus")
        self._found: dict[str, Rule] = {}
        self._asked: float | None = None

    def get(self, name: str) -> Rule | None:
        """Return the rule of an alert's name, None when it is not known."""
        return self._found.get(name)

    @property
    def is_stale(self) -> bool:
        """Whether it is time to ask again."""
        return self._asked is None or time.monotonic() - self._asked > _KEEP_S

    async def refresh(self) -> None:
        """Ask Prometheus; raises SourceError, after which what was known stays."""
        self._asked = time.monotonic()
        answer = await asyncio.to_thread(self._server.json, "/api/v1/rules", {"type": "alert"})
        self._found = read_rules(answer)


def read_rules(answer: Any) -> dict[str, Rule]:
    """Return rules by alert name from the answer of ``/api/v1/rules``; of equal names the widest counts."""
    found: dict[str, Rule] = {}
    groups = answer.get("data", {}).get("groups", []) if isinstance(answer, dict) else []
    for rule in (rule for group in groups for rule in group.get("rules", []) if rule.get("type") == "alerting"):
        new = Rule(round(float(rule.get("duration") or 0) * SECOND_NS), rate_window_ns(str(rule.get("query", ""))))
        old = found.get(str(rule.get("name")), new)
        found[str(rule.get("name"))] = Rule(max(new.for_ns, old.for_ns), max(new.rate_ns, old.rate_ns))
    return found
