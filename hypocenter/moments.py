"""The ways in which people and alerts say when: moments, and the windows between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from .tracer.window import Window, epoch_to_ns, parse_time

if TYPE_CHECKING:
    from .hook.payload import Alert

# "-30m", RFC 3339, seconds since the epoch (or ms, us, ns, told by magnitude), datetime, pandas Timestamp, or an alert:
# one of Alertmanager's or Grafana's, or the whole body of their webhook; its moment is when it began.
Moment: TypeAlias = "str | int | float | datetime | Mapping[str, Any]"
Period: TypeAlias = "Window | Moment | tuple[Moment, Moment]"


def moment_ns(moment: Moment) -> int:
    """Return nanoseconds since the epoch; a datetime without a zone is UTC, a relative text counts from now.

    Raises
    ------
    ValueError
        The text is no time, or the alert does not say when it began.

    Examples
    --------
    >>> moment_ns(1_700_000_000) == moment_ns("2023-11-14T22:13:20Z") == moment_ns(datetime(2023, 11, 14, 22, 13, 20))
    True
    >>> moment_ns({"labels": {"alertname": "Slow"}, "startsAt": "2023-11-14T22:13:20Z"})
    1700000000000000000
    """
    if isinstance(moment, str):
        return parse_time(moment)
    if isinstance(moment, Mapping):
        return _began_ns(moment)
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        whole_ns = round(aware.replace(microsecond=0).timestamp()) * 10**9
        # A pandas Timestamp keeps the nanoseconds that a datetime has no place for.
        return whole_ns + aware.microsecond * 1000 + int(getattr(moment, "nanosecond", 0))
    return epoch_to_ns(str(moment))


def alerts_of(given: Mapping[str, Any]) -> tuple[Alert, ...]:
    """Return the alerts of an alert or of a webhook's body, the firing ones where any fires."""
    import json

    from .hook.payload import parse

    body = given if isinstance(given.get("alerts"), list) else {"alerts": [given]}
    told = parse(json.dumps(body, default=str).encode())
    return told.firing or told.alerts


def ended_ns(given: Moment | Period | None) -> int | None:
    """Return when an alert ended; None while it fires, and for what is no alert."""
    if not isinstance(given, Mapping):
        return None
    ends = [alert.ends_ns for alert in alerts_of(given)]
    return max(end for end in ends if end is not None) if ends and None not in ends else None


def _began_ns(given: Mapping[str, Any]) -> int:
    starts = [alert.starts_ns for alert in alerts_of(given) if alert.starts_ns is not None]
    if not starts:
        raise ValueError("an alert says in startsAt when it began; this one does not: name the time itself")
    return min(starts)
