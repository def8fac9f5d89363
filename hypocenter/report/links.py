"""Links from a page into Jaeger, Tempo, Grafana or Prometheus: URL templates filled in for an incident."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from ..tracer.window import to_rfc3339

# What a template may hold between braces.
KNOWN = (
    "trace_id",
    "service",
    "entity",
    "start",
    "end",
    "start_s",
    "end_s",
    "start_ms",
    "end_ms",
    "start_us",
    "end_us",
)
_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Link:
    """A name for people and where it leads."""

    name: str
    url: str


def parse_links(given: Iterable[str]) -> dict[str, str]:
    """Return templates by name from texts ``NAME=URL``; ValueError says what is wrong with one.

    >>> parse_links(["Jaeger=http://jaeger:16686/trace/{trace_id}"])
    {'Jaeger': 'http://jaeger:16686/trace/{trace_id}'}
    """
    found = {}
    for text in given:
        name, equals, url = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"a link is NAME=URL, got {text!r}")
        found[name.strip()] = url.strip()
    return checked(found)


def checked(templates: Mapping[str, str]) -> dict[str, str]:
    """Return templates as they are; ValueError for what is no http address, or holds a placeholder nobody fills."""
    for name, url in templates.items():
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or _PLACE.search(parts.netloc):
            raise ValueError(f"link {name}: expected an http or https address, got {url!r}")
        unknown = sorted(set(_PLACE.findall(url)) - set(KNOWN))
        if unknown:
            raise ValueError(f"link {name}: unknown {{{unknown[0]}}}; known: {', '.join(KNOWN)}")
    return dict(templates)


def links(
    templates: Mapping[str, str], window_ns: tuple[int, int] | None, trace_id: str | None = None, **texts: str
) -> tuple[Link, ...]:
    """Return the links that can be filled in: those about a trace with a ``trace_id``, the others without.

    Parameters
    ----------
    templates
        URLs by name, with any of `KNOWN` in braces; what is filled in is quoted, so that it stays in its place.
    window_ns
        Start and end of the incident; None where it has none.
    trace_id
        A trace: only templates that speak of one are filled in. None: only those that do not.
    texts
        ``service`` and ``entity``.
    """
    values = dict(texts) | ({} if trace_id is None else {"trace_id": trace_id})
    for side, time_ns in zip(("start", "end"), window_ns or (), strict=False):
        values |= {side: to_rfc3339(time_ns), f"{side}_s": str(time_ns // 10**9)}
        values |= {f"{side}_ms": str(time_ns // 10**6), f"{side}_us": str(time_ns // 1000)}
    found = []
    for name, url in templates.items():
        asked = set(_PLACE.findall(url))
        if ("trace_id" in asked) == (trace_id is not None) and asked <= set(values):
            found.append(Link(name, _PLACE.sub(lambda place: quote(values[place.group(1)], safe=""), url)))
    return tuple(found)
