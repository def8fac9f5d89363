"""Windows of time, and the texts in which people write a time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS

_RELATIVE = re.compile(r"([-+]?)((?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+)")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNIT_NS = {"ms": 10**6, "s": SECOND_NS, "m": MINUTE_NS, "h": HOUR_NS, "d": 24 * HOUR_NS, "w": 7 * 24 * HOUR_NS}


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The half-open span of time ``[start_ns, end_ns)``, nanoseconds since the epoch; an empty one is a ValueError."""

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        if self.start_ns >= self.end_ns:
            raise ValueError(f"a window starts before it ends; got {self}")

    @property
    def duration_ns(self) -> int:
        """Its length in nanoseconds."""
        return self.end_ns - self.start_ns

    def __repr__(self) -> str:
        return f"<Window {self}>"

    def __str__(self) -> str:
        return f"{to_rfc3339(self.start_ns)}/{to_rfc3339(self.end_ns)}"


def hours(start_ns: int, end_ns: int) -> Iterator[Window]:
    """Yield the whole hours that ``[start_ns, end_ns)`` touches, in order.

    >>> [str(hour) for hour in hours(HOUR_NS - 1, HOUR_NS + 1)]
    ['1970-01-01T00:00:00Z/1970-01-01T01:00:00Z', '1970-01-01T01:00:00Z/1970-01-01T02:00:00Z']
    """
    for hour_ns in range(start_ns // HOUR_NS * HOUR_NS, end_ns, HOUR_NS):
        yield Window(hour_ns, hour_ns + HOUR_NS)


def to_rfc3339(time_ns: int) -> str:
    """Return UTC text with as many decimals as the time needs.

    >>> to_rfc3339(1_700_000_000_000_000_000)
    '2023-11-14T22:13:20Z'
    >>> to_rfc3339(1_700_000_000_250_000_000)
    '2023-11-14T22:13:20.25Z'
    """
    seconds, rest = divmod(time_ns, SECOND_NS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else f"{text}Z"


def parse_time(text: str, now_ns: int | None = None) -> int:
    """Return the nanoseconds since the epoch that ``text`` names.

    It may be RFC 3339 (UTC without an offset), epoch seconds, milliseconds, microseconds or nanoseconds (told apart by
    magnitude), ``now``, or relative to ``now_ns`` (``-1h``, ``-1h30m``, ``+5m``). Anything else is a ValueError.

    >>> parse_time("-90s", now_ns=100 * 10**9) // 10**9
    10
    >>> parse_time("1700000000") == parse_time("2023-11-14T22:13:20Z") == parse_time("1700000000000")
    True
    """
    stripped = text.strip()
    if stripped == "now":
        return time.time_ns() if now_ns is None else now_ns
    if relative := _RELATIVE.fullmatch(stripped):
        sign, parts = relative.groups()
        span = sum(round(float(number) * _UNIT_NS[unit]) for number, unit in _PART.findall(parts))
        now = time.time_ns() if now_ns is None else now_ns
        return now + span if sign == "+" else now - span
    if re.fullmatch(r"\d+(\.\d+)?", stripped):
        return epoch_to_ns(stripped)
    try:
        moment = datetime.fromisoformat(stripped)
    except ValueError:
        expected = "RFC 3339 (2026-11-24T14:00:00Z), epoch seconds, now, or relative (-1h)"
        raise ValueError(f"expected {expected}, got {text!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = moment.replace(microsecond=0)
    return round(whole.timestamp()) * SECOND_NS + moment.microsecond * 1000


def epoch_to_ns(number: str) -> int:
    """Return epoch text in s, ms, us or ns as nanoseconds; the unit is told by the magnitude (from 1973 on)."""
    whole, _, decimals = number.partition(".")
    unit = next(u for u in (1, 10**3, 10**6, 10**9) if int(whole) * u >= 10**17 or u == 10**9)
    return int(whole) * unit + (round(float(f"0.{decimals}") * unit) if decimals else 0)
