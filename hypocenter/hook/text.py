"""The words of a notification: one line that says it, then five that prove it, for someone just woken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ..report.answer import percent
from ..tracer.window import SECOND_NS, to_rfc3339

_NEAR = 0.01
Role = Literal["first", "update", "resolved"]


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What is added to a notification.

    ``summary`` says it, ``lines`` prove it, each a label and a text; ``finding`` is the ranking in plain values
    (`hypocenter.hook.ranking.finding`), None when there is none yet; ``follow_up`` counts from 1 what is said after the
    alert itself.
    """

    incident: str
    role: Role
    summary: str
    lines: tuple[tuple[str, str], ...] = ()
    finding: Mapping[str, Any] | None = None
    url: str | None = None
    follow_up: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the journal."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Enrichment:
        """Return what `to_dict` wrote; keys of a newer version are left out."""
        known = {field.name for field in fields(cls)}
        kept: dict[str, Any] = {key: value for key, value in values.items() if key in known}
        kept["lines"] = tuple((label, text) for label, text in kept.get("lines", ()))
        return cls(**kept)


def summary_of(finding: Mapping[str, Any]) -> str:
    """Return the line that says it: the origin, how sure, since when."""
    if finding["outcome"] != "ranked":
        return "No clear origin: the evidence is too weak to name one"
    chance = f" ({finding['chance']})" if finding.get("chance") else ""
    return f"{finding['headline']}{chance}, since {time_of_day(finding['onset_ns'])}"


def proof_of(finding: Mapping[str, Any], doubts: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    """Return the five lines that prove it: why, how it spread, what changed, what to look at, what is uncertain."""
    lines = [("Why", _why(finding)), ("Spread", _spread(finding)), ("Changed", _changed(finding.get("changes")))]
    first_look = [*finding["look_at"][:1], *finding["commands"][:1]]
    lines.append(("Look at", "; run: ".join(first_look) or "the dashboards of the alerting service"))
    lines.append(("Or else", _uncertain(finding, doubts)))
    return tuple(lines)


def time_of_day(time_ns: int | None) -> str:
    """Return the time of day in UTC, to the second; the date stands beside it in every channel.

    >>> time_of_day(1_700_000_000_250_000_000), time_of_day(None)
    ('22:13:20 UTC', 'an unknown time')
    """
    return "an unknown time" if time_ns is None else f"{to_rfc3339(time_ns - time_ns % SECOND_NS)[11:19]} UTC"


def span_of(seconds: float) -> str:
    """Return a length of time in one or two units.

    >>> span_of(42), span_of(423), span_of(7380)
    ('42 s', '7 min', '2 h 3 min')
    """
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def named(services: list[str], most: int = 3) -> str:
    """Return names for people, the first ones by name.

    >>> named(["a", "b"]), named(["a", "b", "c", "d", "e"])
    ('a and b', 'a, b, c and 2 more')
    """
    if len(services) > most:
        return f"{', '.join(services[:most])} and {len(services) - most} more"
    return " and ".join([", ".join(services[:-1]), services[-1]] if len(services) > 1 else services)


def _why(finding: Mapping[str, Any]) -> str:
    if finding["outcome"] != "ranked":
        best = next(iter(finding["others"]), None)
        return f"at best {best['name']}: {best['why']}" if best else "no candidate stands out"
    return str(finding["steps"][0][2]) if finding["steps"] else str(finding["certainty"])


def _spread(finding: Mapping[str, Any]) -> str:
    path = finding["path"]
    impact = next((f"{entity}: {fact}" for role, entity, fact in finding["steps"] if role == "Impact"), "")
    if len(path) > 1:
        return f"{' → '.join(path)}" + (f"; {impact}" if impact else "")
    return impact or f"felt at {finding['symptom'] or 'an unknown place'}"


def _changed(changes: list[Mapping[str, Any]] | None) -> str:
    if changes is None:
        return "unknown: no change events are collected"
    if not changes:
        return "nothing that is recorded, in the 15 min before"
    first = changes[0]
    when = f"{span_of(abs(first['before_s']))} {'before' if first['before_s'] >= 0 else 'after'}"
    of = "" if str(first["of"]) in str(first["text"]) else f"{first['of']}: "
    more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
    return f"{of}{first['text']}, {when}{more}"


def _uncertain(finding: Mapping[str, Any], doubts: tuple[str, ...]) -> str:
    others = finding["others"][:1] if finding["outcome"] == "ranked" else []
    parts = []
    for other in others:
        chance = other["probability"]
        if chance is not None and chance < _NEAR:
            parts.append("nothing else comes near")
        else:
            parts.append(other["name"] if chance is None else f"{other['name']}, {percent(chance)}")
    skipped = [text.split(":", 1)[0] for text in finding["not_checked"]]
    if skipped:
        parts.append(f"not checked: {', '.join(dict.fromkeys(skipped))}")
    return "; ".join([*parts, *doubts]) or "everything was checked"
