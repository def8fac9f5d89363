"""Which alerts are one incident: by the graph (who can be hurt by the origin) and by onsets."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..tracer.window import MINUTE_NS, SECOND_NS, to_rfc3339
from .payload import Alert, Notification

# An alert that began that long before the onset has another cause; clocks and onsets are not better than this.
_BEFORE_ONSET_NS = 2 * MINUTE_NS
# Without a new alert for that long, the next one is another incident.
_QUIET_NS = 30 * MINUTE_NS
# What comes back that soon after its end is the same incident.
_FLAP_NS = 5 * MINUTE_NS
# Two rankings with one origin and onsets this near speak of one incident.
_ONE_ONSET_NS = 3 * MINUTE_NS
_KEPT = 500
_MOST_ALERTS, _MOST_UPDATES = 5000, 100


@dataclass
class Incident:
    """``alerts`` by fingerprint: name, service, status, begin and end; ``finding`` as the worker gave it, or None."""

    id: str
    opened_ns: int
    updated_ns: int
    at_ns: int  # handed to the ranking
    symptom: str | None
    title: str
    ranked_ns: int = 0
    resolved_ns: int | None = None
    finding: dict[str, Any] | None = None
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)
    services: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    feedback: dict[str, Any] | None = None

    @property
    def origin(self) -> str | None:
        """The origin for people, None while unknown."""
        return self.finding.get("name") if self.finding else None

    @property
    def origin_service(self) -> str | None:
        """The service of the origin."""
        origin = self.finding.get("origin") if self.finding else None
        return origin["service"] if origin else None

    @property
    def onset_ns(self) -> int | None:
        """When it began, None while unknown."""
        return self.finding.get("onset_ns") if self.finding else None

    @property
    def begin_ns(self) -> int:
        """The onset, else the first alert's start."""
        if self.onset_ns is not None:
            return self.onset_ns
        return min((a["starts_ns"] for a in self.alerts.values() if a["starts_ns"]), default=self.opened_ns)

    @property
    def end_ns(self) -> int | None:
        """When the last alert ended, None while one fires."""
        if self.resolved_ns is None:
            return None
        return max((a["ends_ns"] for a in self.alerts.values() if a["ends_ns"]), default=self.resolved_ns)

    @property
    def firing(self) -> list[str]:
        """The services, else alert names, that still fire."""
        return sorted({a["service"] or a["name"] for a in self.alerts.values() if a["status"] != "resolved"})

    def can_hurt(self, service: str) -> bool:
        """Whether the incident may be what an alert of ``service`` tells of."""
        if service in self.services or service == self.symptom:
            return True
        return self.finding is not None and service in self.finding["related"]

    def note(self, text: str, now_ns: int) -> None:
        """Add a line to the incident's history."""
        self.updates = [*self.updates[-_MOST_UPDATES + 1 :], {"time_ns": now_ns, "text": text}]
        self.updated_ns = now_ns

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, to be written at once: they are the incident's own."""
        return dict(vars(self))


class Incidents:
    """Those that are known, the newest first; ``changed`` are the ids whose state is not kept yet."""

    def __init__(self, kept: Iterable[Mapping[str, Any]] = ()) -> None:
        known = Incident.__dataclass_fields__
        found = [Incident(**{k: v for k, v in body.items() if k in known}) for body in kept]
        self._by_id = {one.id: one for one in sorted(found, key=lambda one: one.opened_ns)}
        self.changed: set[str] = set()
        # Ends that came before their incident was known, while a slow ranking went on.
        self._ended: dict[tuple[str, int | None], Alert] = {}

    def __iter__(self) -> Iterator[Incident]:
        return reversed(list(self._by_id.values()))

    def get(self, name: str) -> Incident | None:
        """Return an incident by id."""
        return self._by_id.get(name)

    def match(self, note: Notification, services: Mapping[str, str | None], now_ns: int) -> Incident | None:
        """Return the incident that a notification belongs to, None when it is a new one.

        ``services`` maps the fingerprints of its alerts to the services that they speak of.
        """
        for incident in self:
            if any(_is_same(incident, alert) for alert in note.alerts):
                return incident
        named = {service for service in services.values() if service}
        start = min((a.starts_ns for a in note.firing if a.starts_ns is not None), default=now_ns)
        for incident in self:
            ended = incident.resolved_ns is not None and now_ns - incident.resolved_ns > _FLAP_NS
            if ended or now_ns - incident.updated_ns > _QUIET_NS:
                continue
            if incident.onset_ns is not None and start < incident.onset_ns - _BEFORE_ONSET_NS:
                continue
            if any(incident.can_hurt(service) for service in named):
                return incident
            if not named and incident.symptom is None and now_ns - incident.opened_ns < _QUIET_NS:
                return incident
        return None

    def same_origin(self, finding: Mapping[str, Any], now_ns: int) -> Incident | None:
        """Return the open incident that a new ranking speaks of as well."""
        origin, onset = finding.get("origin"), finding.get("onset_ns")
        if not origin or onset is None:
            return None
        for incident in self:
            if incident.resolved_ns is None and now_ns - incident.updated_ns <= _QUIET_NS:
                near = incident.onset_ns is not None and abs(incident.onset_ns - onset) <= _ONE_ONSET_NS
                if near and incident.origin_service == origin["service"]:
                    return incident
        return None

    def open(
        self,
        name: str,
        note: Notification,
        at_ns: int,
        symptom: str | None,
        finding: dict[str, Any],
        now_ns: int,
    ) -> Incident:
        """Return a new incident under ``name``."""
        incident = Incident(name, now_ns, now_ns, at_ns, symptom, note.title, now_ns, finding=finding)
        self._by_id[name] = incident
        while len(self._by_id) > _KEPT:
            del self._by_id[next(iter(self._by_id))]
        self.changed.add(name)
        return incident

    def absorb(
        self, incident: Incident, note: Notification, services: Mapping[str, str | None], now_ns: int
    ) -> tuple[list[str], bool]:
        """Take a notification's alerts in; return the services that are new in it, and whether it just ended."""
        before = set(incident.services)
        for told in note.alerts:
            alert = self._ended.get((told.fingerprint, told.starts_ns), told)
            known = incident.alerts.get(alert.fingerprint)
            if known is None and (told.status == "resolved" or len(incident.alerts) >= _MOST_ALERTS):
                continue
            incident.alerts[alert.fingerprint] = {
                "name": alert.name,
                "service": services.get(alert.fingerprint) or (known or {}).get("service"),
                "status": alert.status,
                "starts_ns": alert.starts_ns,
                "ends_ns": alert.ends_ns if alert.status == "resolved" else None,
            }
        if note.group_key not in incident.groups:
            incident.groups.append(note.group_key)
        new = sorted({s for a in note.firing if (s := services.get(a.fingerprint))} - before)
        incident.services = [*incident.services, *new]
        over = all(alert["status"] == "resolved" for alert in incident.alerts.values())
        ended = over and incident.resolved_ns is None
        incident.resolved_ns = (incident.resolved_ns or now_ns) if over else None
        incident.updated_ns = now_ns
        self.changed.add(incident.id)
        return new, ended

    def remember_end(self, note: Notification) -> None:
        """Keep the end of alerts that belong to no incident yet."""
        self._ended |= {(a.fingerprint, a.starts_ns): a for a in note.alerts}
        while len(self._ended) > _MOST_ALERTS:
            del self._ended[next(iter(self._ended))]

    def say(self, incident: Incident, verdict: str, service: str | None, text: str) -> None:
        """Keep what somebody said about an incident."""
        now = time.time_ns()
        incident.feedback = {"verdict": verdict, "service": service, "text": text, "time_ns": now}
        incident.note(text, now)
        self.changed.add(incident.id)


def new_id(note: Notification, now_ns: int) -> str:
    """Return a name that sorts by time and is safe in a path: ``20261124-120320-3f9c``."""
    moment = to_rfc3339(now_ns - now_ns % SECOND_NS)
    digest = hashlib.sha256(f"{note.key}{now_ns}".encode()).hexdigest()
    return f"{moment[:10].replace('-', '')}-{moment[11:19].replace(':', '')}-{digest[:4]}"


def _is_same(incident: Incident, alert: Alert) -> bool:
    known = incident.alerts.get(alert.fingerprint)
    return known is not None and (known["starts_ns"] == alert.starts_ns or alert.status == "resolved")
