"""Kubernetes' times: RFC 3339 with seconds or microseconds, in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Refreshed while nothing happens.
_HEARTBEATS: Final = frozenset({"lastHeartbeatTime", "lastProbeTime", "renewTime", "lastScheduleTime", "notAfter"})


def to_ns(text: object) -> int | None:
    """Return nanoseconds since the epoch; None for what is no time.

    >>> to_ns("2026-11-24T14:00:00.250000Z"), to_ns(None)
    (1795528800250000000, None)
    """
    if isinstance(text, datetime):
        moment = text
    elif not isinstance(text, str) or len(text) < 10 or not text[0].isdigit():
        return None
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
    span = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    ns = ((span.days * 86400 + span.seconds) * 10**6 + span.microseconds) * 1000
    return ns if 0 <= ns < 2**62 else None


def latest_ns(value: object) -> int | None:
    """Return the latest time in a tree whose key says that something happened then; None when it has none."""
    return max((ns for key, ns in _times(value, "") if key not in _HEARTBEATS), default=None)


def _times(value: Any, key: str) -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _times(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _times(inner, key)
    elif key.endswith(("Time", "Timestamp", "time", "At")) and (ns := to_ns(value)) is not None:
        yield key, ns
