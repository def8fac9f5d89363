"""What a section of the collector's configuration says of one server that is pulled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from hypocenter.errors import SourceError

from ..window import SECOND_NS, parse_time
from .server import Access

_ACCESS: Final = {one.name for one in fields(Access)} - {"timeout_s"}
_TYPES: Final[dict[str, type]] = {"insecure_skip_verify": bool, "max_bytes": int}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_LISTS: Final = {"match", "queries", "services"}
# Keys of all sections, and of one; durations in text such as 15s.
_COMMON: Final = {"url", "name", "interval", "overlap", "since", "timeout"}
KEYS: Final[dict[str, set[str]]] = {
    "prometheus": {"match", "queries", "step", "exemplars"},
    "jaeger": {"services", "limit"},
    "tempo": {"query", "limit"},
    "zipkin": {"limit"},
    "alertmanager": set(),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """One server: how to reach it, how often, and what to ask (``more``, by the keys of `KEYS`)."""

    kind: str
    url: str
    name: str
    access: Access
    interval_s: float
    overlap_ns: int
    since_ns: int
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, section: object) -> Settings:
        """Return the settings of a section: a mapping, or an address alone.

        Raises SourceError for an unknown key or a value that is not of its form; the message never holds a value of
        the section.
        """
        given = {"url": section} if isinstance(section, str) else section
        if not isinstance(given, Mapping) or not isinstance(given.get("url"), str):
            raise SourceError(f"{kind}: expected an address, or a mapping with url, in the configuration")
        allowed = _COMMON | _ACCESS | KEYS[kind]
        if unknown := sorted(set(map(str, given)) - allowed):
            raise SourceError(f"{kind}: unknown key {unknown[0]}; known: {', '.join(sorted(allowed))}")
        access: dict[str, Any] = {key: given[key] for key in _ACCESS if given.get(key) is not None}
        for key, value in access.items():
            if not isinstance(value, _TYPES.get(key, str)):
                raise SourceError(f"{kind}: {key}: expected {_TYPES.get(key, str).__name__}, got another type")
        if given.get("timeout") is not None:
            access["timeout_s"] = duration_ns(given["timeout"], f"{kind}: timeout") / SECOND_NS
        more = {key: _listed(kind, key, given[key]) for key in KEYS[kind] if given.get(key) is not None}
        if "step" in more:
            more["step"] = duration_ns(more["step"], f"{kind}: step")
        is_traces = kind in ("jaeger", "tempo", "zipkin")
        times = {
            key: duration_ns(given.get(key, default), f"{kind}: {key}")
            for key, default in (
                ("interval", "15s"),
                ("overlap", "2m" if is_traces else "1m"),
                ("since", "1h"),
            )
        }
        return cls(
            kind,
            given["url"],
            str(given.get("name") or kind),
            Access(**access),
            times["interval"] / SECOND_NS,
            times["overlap"],
            times["since"],
            more,
        )


def duration_ns(text: object, what: str) -> int:
    """Return a duration such as ``15s`` or ``1h30m`` in nanoseconds; SourceError for anything else.

    >>> duration_ns("1m30s", "step")
    90000000000
    """
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise SourceError(f"{what}: expected a duration such as 15s, 5m or 1h30m, got {str(text)[:40]!r}")
    return -parse_time(text, now_ns=0)


def _listed(kind: str, key: str, value: Any) -> Any:
    if key not in _LISTS:
        return value
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SourceError(f"{kind}: {key}: expected a list of texts")
    return value
