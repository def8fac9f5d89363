"""From a notification to what is added to it: its incident, a ranking where one is due, and the words."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from hypocenter.errors import RankerError, SourceError

from ..tracer.window import SECOND_NS
from .config import Config
from .incidents import Incident, Incidents, new_id
from .mapping import Entity, Known, map_alert
from .observe import Observe
from .payload import Notification
from .pool import KNOWN, RANK
from .text import Enrichment, named, proof_of, span_of, summary_of, time_of_day
from .windows import Rules, search_of

_log = logging.getLogger(__name__)
_NAMES_KEPT_S = 30.0
_NAMES_TIMEOUT_S = 30.0
_NAMES_ASK_S = 2.0
# The first look must be over within the deadline: fewer spans, and servers have a share of it. Then there is time.
_FIRST_SPANS, _ASK_SHARE = 60_000, 0.4
_THOROUGH = {"most_spans": 120_000, "ask_s": 5.0}
# A ranking this old is made anew when the incident speaks again, while the notification waits for at most _CONFIRM_S.
_CONFIRM_AFTER_S, _CONFIRM_S = 30.0, 1.0
# An alert may come when its incident is seconds old and hardly to be seen: looked at again that long after.
LOOK_AGAIN_S = (15.0, 45.0)
# After a failure no ranking is tried for a while: each would fail alike and hold up the next notification.
_PAUSE_AFTER_FAILURE_S = 5.0


class Workers(Protocol):
    """What `hypocenter.hook.pool.Pool` offers."""

    async def ask(self, urgency: int, kind: str, arguments: dict[str, Any], timeout_s: float, /) -> dict[str, Any]:
        """Return the answer of a function of the worker; RankerError when there is none."""
        ...


class Enricher:
    """Decides what to say; what arrives while an incident is opened or widened waits to see whether it fits."""

    def __init__(
        self,
        config: Config,
        workers: Workers,
        incidents: Incidents,
        rules: Rules | None,
        observe: Observe,
        say_later: Callable[[Notification, Enrichment], Awaitable[None]],
    ) -> None:
        self._config = config
        self._workers = workers
        self._rules = rules
        self._observe = observe
        self._say_later = say_later
        self.incidents = incidents
        self.known = Known()
        self._known_at = -_NAMES_KEPT_S
        self._ranking: asyncio.Task[Any] | None = None
        self._confirming: dict[str, asyncio.Task[str]] = {}
        self._failed_at = -_PAUSE_AFTER_FAILURE_S
        self._background: set[asyncio.Task[Any]] = set()

    async def enrich(self, note: Notification) -> Enrichment | None:
        """Return what to add to a notification; None: nothing is known, it goes as it came."""
        if note.is_marked:
            self._observe.count("enrichments", outcome="marked")
            return None
        self._look_around()
        entities = {a.fingerprint: map_alert(a, self.known, self._own_rules()) for a in note.alerts}
        services = {fingerprint: entity.service for fingerprint, entity in entities.items()}
        if not note.firing:
            return self._resolved(note, services)
        incident = await self._incident_of(note, services)
        if incident is None:
            return None
        return await self._say(incident, note, services, entities)

    async def _incident_of(self, note: Notification, services: Mapping[str, str | None]) -> Incident | None:
        """Return the incident of a notification, perhaps a new one; None when no ranking can be had."""
        begin = time.monotonic()
        while (incident := self.incidents.match(note, services, time.time_ns())) is None:
            if time.monotonic() - begin > self._config.ranking_timeout:
                self._observe.count("enrichments", outcome="crowded out")
                return None
            if self._ranking is not None and not self._ranking.done():
                await asyncio.wait({self._ranking})  # what it finds may be what this tells of
                continue
            if time.monotonic() - self._failed_at < _PAUSE_AFTER_FAILURE_S:
                self._observe.count("enrichments", outcome="paused")
                return None
            mine = asyncio.create_task(self._open(note, services))
            self._ranking = mine
            await asyncio.wait({mine})
            try:
                return mine.result()
            except RankerError as error:
                self._observe.count("enrichments", outcome="failed")
                _log.warning("not enriched: %s", error)
                return None
        return incident

    async def close(self) -> None:
        """End what runs in the background."""
        running = [*self._background, *self._confirming.values(), *([self._ranking] if self._ranking else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def url_of(self, incident: str) -> str | None:
        """Return the address of an incident's page, None where the hook does not know how it is reached."""
        base = self._config.public_url
        return f"{base.rstrip('/')}/incidents/{incident}" if base else None

    def again(self, incident: Incident) -> dict[str, Any]:
        """Return the arguments that look at an incident again, thoroughly."""
        return self._place(incident.at_ns, incident.symptom, _THOROUGH)

    def _place(self, at_ns: int, symptom: str | None, look: dict[str, Any]) -> dict[str, Any]:
        where = {"sources": self._config.sources, "at_ns": at_ns, "now_ns": time.time_ns(), "symptom": symptom}
        return where | look

    def _own_rules(self) -> list[tuple[str, str]]:
        return [(rule.label, rule.names) for rule in self._config.mapping]

    async def _open(self, note: Notification, services: Mapping[str, str | None]) -> Incident:
        """Rank for a notification that fits no incident, and open one, or widen the one that has the same origin."""
        now = time.time_ns()
        rule = next((r for a in note.firing if self._rules and (r := self._rules.get(a.name))), None)
        search = search_of(note.firing, rule, now)
        symptom = next((s for a in note.firing if (s := services.get(a.fingerprint))), None)
        name = new_id(note, now)
        first_look = {"most_spans": _FIRST_SPANS, "ask_s": _ASK_SHARE * self._config.deadline}
        finding = await self._rank(name, self._place(search.at_ns, symptom, first_look))
        same = self.incidents.same_origin(finding, time.time_ns())
        if same is not None:
            same.finding = finding | {
                "related": sorted({*finding["related"], *(same.finding or {}).get("related", ())})
            }
            return same
        if search.note:
            finding["not_checked"] = [*finding["not_checked"], f"alert's rule: {search.note}"]
        incident = self.incidents.open(name, note, search.at_ns, symptom, finding, time.time_ns())
        incident.note(summary_of(finding), time.time_ns())
        at_once = None
        if finding["is_partial"]:  # it may reach further than what was seen of it
            at_once = self._ranking = asyncio.create_task(self._rank_again(incident))
        self._run(self._look_again(incident, note, at_once))
        return incident

    async def _rank(self, name: str, place: dict[str, Any]) -> dict[str, Any]:
        begin = time.monotonic()
        try:
            with self._observe.span("rank", {"hypocenter.incident": name}):
                finding = await self._workers.ask(RANK, "rank", place, self._config.ranking_timeout)
        except RankerError:
            self._failed_at = time.monotonic()
            self._observe.count("rankings", outcome="failed")
            raise
        self._observe.time("ranking", time.monotonic() - begin)
        self._observe.count("rankings", outcome=finding["outcome"])
        return finding

    async def _say(
        self,
        incident: Incident,
        note: Notification,
        services: Mapping[str, str | None],
        entities: Mapping[str, Entity],
    ) -> Enrichment:
        is_first = not incident.groups
        now = time.time_ns()
        new, _ = self.incidents.absorb(incident, note, services, now)
        doubts = tuple(dict.fromkeys(doubt for entity in entities.values() for doubt in entity.doubts))
        if is_first:
            self._observe.count("enrichments", outcome="first")
            return self._enrichment(incident, "first", summary_of(incident.finding or {}), doubts)
        confirmed = await self._confirm(incident)
        origin = f"{incident.origin or 'no clear origin'}, since {time_of_day(incident.begin_ns)}"
        if confirmed == "changed":
            summary = f"Changed: {summary_of(incident.finding or {})}"
        elif new:
            summary = f"Now also {named(new)}: same incident, origin {origin}"
        elif confirmed == "confirmed":
            summary = f"Confirmed: {summary_of(incident.finding or {})}"
        else:
            summary = f"Still firing: origin {origin}"
        incident.note(summary, now)
        self._observe.count("enrichments", outcome="update")
        return self._enrichment(incident, "update", summary, doubts)

    async def _look_again(self, incident: Incident, note: Notification, at_once: asyncio.Task[str] | None) -> None:
        """Rank a young incident again, and correct what was said of it."""
        said = 1
        for seconds in [*([0.0] if at_once else []), *LOOK_AGAIN_S]:
            await asyncio.sleep(seconds)
            if incident.resolved_ns is not None:
                return
            again, at_once = at_once or asyncio.create_task(self._rank_again(incident)), None
            if await again == "changed":
                said += 1
                summary = f"Changed: {summary_of(incident.finding or {})}"
                incident.note(summary, time.time_ns())
                await self._say_later(note, replace(self._enrichment(incident, "update", summary), follow_up=said))

    async def _confirm(self, incident: Incident) -> str:
        """Rank an incident again when its ranking is old: ``confirmed``, ``changed``, or ``unchecked`` for now."""
        age_s = (time.time_ns() - incident.ranked_ns) / SECOND_NS
        task = self._confirming.get(incident.id)
        if task is not None or age_s < _CONFIRM_AFTER_S:
            return "unchecked"
        task = asyncio.create_task(self._rank_again(incident))
        self._confirming[incident.id] = task
        task.add_done_callback(lambda _: self._confirming.pop(incident.id, None))
        done, _ = await asyncio.wait({task}, timeout=min(_CONFIRM_S, self._config.deadline / 2))
        return task.result() if done else "unchecked"

    async def _rank_again(self, incident: Incident) -> str:
        incident.ranked_ns = time.time_ns()
        try:
            finding = await self._rank(incident.id, self.again(incident))
        except RankerError as error:
            _log.warning("incident %s is not ranked again: %s", incident.id, error)
            return "unchecked"
        before, after = incident.origin_service, (finding["origin"] or {}).get("service")
        if after is None and before is not None:
            return "unchecked"  # a weaker look at the same time does not undo a clear one
        finding["related"] = sorted({*finding["related"], *(incident.finding or {}).get("related", ())})
        incident.finding = finding
        self.incidents.changed.add(incident.id)
        return "confirmed" if before == after else "changed"

    def _resolved(self, note: Notification, services: Mapping[str, str | None]) -> Enrichment | None:
        now = time.time_ns()
        incident = next((i for i in self.incidents if any(a.fingerprint in i.alerts for a in note.alerts)), None)
        if incident is None:
            self.incidents.remember_end(note)
            self._observe.count("enrichments", outcome="unknown")
            return None
        _, ended = self.incidents.absorb(incident, note, services, now)
        origin = f", origin {incident.origin}" if incident.origin else ", no clear origin was found"
        if ended or incident.end_ns is not None:
            lasted = span_of(((incident.end_ns or now) - incident.begin_ns) / SECOND_NS)
            summary = f"Resolved: lasted {lasted}{origin}"
        else:
            summary = f"Resolved here{origin}; still firing: {named(incident.firing)}"
        incident.note(summary, now)
        self._observe.count("enrichments", outcome="resolved")
        return self._enrichment(incident, "resolved", summary)

    def _enrichment(self, incident: Incident, role: Any, summary: str, doubts: tuple[str, ...] = ()) -> Enrichment:
        finding = incident.finding
        lines = () if finding is None or role == "resolved" else proof_of(finding, doubts)
        return Enrichment(incident.id, role, summary, lines, finding, self.url_of(incident.id))

    def _look_around(self) -> None:
        """Ask for names and rules in the background when they are old; no notification waits for either."""
        if self._config.sources and time.monotonic() - self._known_at > _NAMES_KEPT_S:
            self._known_at = time.monotonic()
            self._run(self._learn_names())
        if self._rules is not None and self._rules.is_stale:
            self._run(self._learn_rules(self._rules))

    def warm(self) -> None:
        """Learn names and rules before the first alert."""
        self._look_around()

    async def _learn_names(self) -> None:
        try:
            place = {"sources": self._config.sources, "now_ns": time.time_ns(), "ask_s": _NAMES_ASK_S}
            found = await self._workers.ask(KNOWN, "known", place, _NAMES_TIMEOUT_S)
        except RankerError as error:
            _log.warning("the names that telemetry uses are not known: %s", error)
            return
        self.known = Known(frozenset(found["services"]), found["pods"], found["nodes"])

    async def _learn_rules(self, rules: Rules) -> None:
        try:
            await rules.refresh()
        except SourceError as error:
            _log.warning("the rules are not known: %s", error)

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
