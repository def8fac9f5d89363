"""What a label says of an origin beyond its service: pod, node, edge, change, and the indicator that shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..evidence.series import role_of

# A metric's name has neither; a line of a log or of the code has.
_NO_METRIC = re.compile(r"[\s#]")


@dataclass(frozen=True, slots=True)
class Origin:
    """One labelled origin; None where the label does not say.

    ``granularity`` is what was broken (service, pod, node, edge, change); ``edge`` is (caller, callee); ``indicator``
    is what it measures (cpu, memory, network, ...) or ``code``.
    """

    service: str
    granularity: str | None = None
    pod: str | None = None
    node: str | None = None
    edge: tuple[str, str] | None = None
    indicator: str | None = None


def read_origins(record: Mapping[str, Any]) -> tuple[Origin, ...]:
    """Return the origins of a case's line: its ``origin`` list, else the ``root_cause_*`` fields; empty without."""
    given = record.get("origin")
    if isinstance(given, list):
        return tuple(_origin(item) for item in given if isinstance(item, Mapping) and item.get("service"))
    if isinstance(record.get("root_cause_service"), str):
        return (_origin({key.removeprefix("root_cause_"): value for key, value in record.items()}),)
    return ()


def indicator_of(label: str) -> str:
    """Return what a labelled indicator measures; what is no metric is a place in the code.

    >>> indicator_of("CpuUsageRate(%)"), indicator_of("Charge card started_Charge card done"), indicator_of("pool")
    ('cpu', 'code', 'socket')
    """
    return "code" if _NO_METRIC.search(label) else role_of(label)


def _origin(item: Mapping[str, Any]) -> Origin:
    def text(key: str) -> str | None:
        value = item.get(key)
        return value if isinstance(value, str) and value else None

    edge, indicator = text("edge"), text("indicator")
    ends = tuple(end.strip() for end in edge.split("->")) if edge else ()
    return Origin(
        service=str(item["service"]),
        granularity=text("granularity"),
        pod=text("pod"),
        node=text("node"),
        edge=(ends[0], ends[1]) if len(ends) == 2 else None,
        indicator=indicator_of(indicator) if indicator else None,
    )
