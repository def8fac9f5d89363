"""The hook: accepts, journals, enriches and delivers; whatever fails inside, the notification goes on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from hypocenter.errors import DeliveryError, RankerError

from .config import Config
from .dead import DeadLetters
from .deliver import Delivery, Dispatcher
from .enrich import Enricher, Workers
from .incidents import Incidents
from .journal import Entry, Journal
from .observe import Observe
from .outward import Outward
from .payload import Notification, parse
from .pool import Pool
from .sink import to_json
from .sinks import create
from .text import Enrichment
from .windows import Rules


class Nobody:
    """In place of workers where there is nothing to rank."""

    async def ask(self, _urgency: int, kind: str, _arguments: dict[str, Any], _timeout_s: float, /) -> dict[str, Any]:
        """Raise RankerError."""
        raise RankerError(f"{kind}: no source of telemetry is configured")


_log = logging.getLogger(__name__)
_KEEP_EVERY_S = 0.5
_PRUNE_EVERY_S = 3600.0
# How long a sender waits where the journal is out of order and only a delivery counts; Alertmanager sends again.
_DIRECT_S = 30.0


class Overloaded(DeliveryError):
    """The queue is full; the sender should come again."""


class Hook:
    """One running hook; use as an async context. ``workers`` may be given in place of processes."""

    def __init__(
        self,
        config: Config,
        workers: Workers | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.config = config
        self.observe = Observe(config.otlp)
        self.sinks = [create(sink) for sink in config.sinks]
        self._outward = Outward(config, self.sinks, transport)
        self.dead = DeadLetters(config.state / "dead")
        limits = config.limits
        # Without telemetry there is nothing to rank, and no worker to keep warm.
        self._pool = Pool(limits.workers, limits.worker_bytes) if workers is None and config.sources else None
        self.workers: Workers = workers or self._pool or Nobody()
        self.journal: Journal | None = None
        rules = Rules(config.prometheus) if config.prometheus else None
        self.enricher = Enricher(config, self.workers, Incidents(), rules, self.observe, self._send_after)
        self.dispatcher = Dispatcher(
            self.sinks, self._outward, None, self.dead, config.retry, self.observe, self._finished
        )
        self._delivered_at: dict[str, int] = {}  # by key; 0 while it is under way
        self._background: set[asyncio.Task[None]] = set()
        self.observe.gauge("dead_letters_kept", "Dead letters in the folder", lambda: {"": self.dead.count()})

    async def __aenter__(self) -> Hook:
        if self._pool is not None:
            await self._pool.__aenter__()
        try:
            self.journal = self.dispatcher.journal = Journal(self.config.state / "hook.sqlite")
        except (DeliveryError, OSError) as error:
            # Fail open: without a journal 200 is answered after the delivery itself.
            _log.error("%s; notifications are passed on directly", error)
        self.dispatcher.start()
        if self.journal is not None:
            self.enricher.incidents = Incidents(await self.journal.incidents())
            window_ns = round(self.config.duplicate_window * 1e9)
            self._delivered_at = await self.journal.recent_keys(time.time_ns() - window_ns)
            for entry in await self.journal.pending():
                self._deliver(entry)
            self._start(self._keep())
        self.enricher.warm()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.dispatcher.stop(grace_s=5.0)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.enricher.close()
        await self._keep_incidents()
        if self._pool is not None:
            await self._pool.__aexit__()
        await self._outward.close()
        if self.journal is not None:
            self.journal.close()
        await asyncio.to_thread(self.observe.close)

    @property
    def is_warm(self) -> bool:
        """Whether a ranking can begin at once."""
        return self._pool is None or self._pool.warm.is_set()

    async def receive(self, body: bytes, source: str) -> str:
        """Accept a notification; return ``accepted`` or ``duplicate``.

        Raises
        ------
        DecodeError
            It is no JSON object.
        Overloaded
            Too many notifications wait for their receivers.
        DeliveryError
            It is neither in the journal nor delivered.
        """
        note = parse(body, source)
        if self._is_duplicate(note.key):
            self.observe.count("duplicates", source=source)
            return "duplicate"
        if len(self.dispatcher.pending) >= self.config.limits.queue:
            raise Overloaded(f"{self.config.limits.queue} notifications wait for their receivers")
        self._delivered_at[note.key] = 0
        arrived = time.monotonic()
        names = [sink.name for sink in self.sinks]
        entry = None
        if self.journal is not None:
            try:
                entry = await self.journal.add(note.key, source, body, names)
            except DeliveryError as error:
                _log.error("%s; notifications are passed on directly", error)
        self.observe.count("received", source=source)
        if entry is not None:
            self._deliver(entry, note, arrived)
            return "accepted"
        delivery = self._deliver(Entry(0, note.key, time.time_ns(), source, body, None, tuple(names)), note, arrived)
        try:
            await asyncio.wait_for(delivery.done.wait(), _DIRECT_S)
        except TimeoutError:
            delivery.failed = True
        if delivery.failed:
            self._delivered_at.pop(note.key, None)
            raise DeliveryError("no journal, and a receiver did not take it")
        return "accepted"

    def _is_duplicate(self, key: str) -> bool:
        """Whether it is under way, or was delivered within the window: reminders come later and pass."""
        delivered = self._delivered_at.get(key)
        if delivered is None:
            return False
        return delivered == 0 or time.time_ns() - delivered < self.config.duplicate_window * 1e9

    def _deliver(self, entry: Entry, note: Notification | None = None, arrived: float | None = None) -> Delivery:
        note = note or parse(entry.body, entry.source)
        begin = time.monotonic() if arrived is None else arrived
        enrichment: asyncio.Future[Enrichment | None]
        if entry.enrichment is not None:
            enrichment = asyncio.get_running_loop().create_future()
            enrichment.set_result(Enrichment.from_dict(entry.enrichment))
        else:
            enrichment = asyncio.ensure_future(self._enrich(note))
        known = tuple(name for name in entry.sinks if name in self.dispatcher.sinks)
        if known != entry.sinks:
            _log.error("the journal holds notifications for sinks that are not configured any more")
        kept = Entry(entry.seq, entry.key, entry.received_ns, entry.source, entry.body, entry.enrichment, known)
        deadline = begin + self.config.deadline
        delivery = Delivery(kept, note, enrichment, begin, deadline, len(known))
        if known:
            self.dispatcher.put(delivery)
            if entry.enrichment is None:
                self._start(self._follow_up(delivery))
        return delivery

    async def _enrich(self, note: Notification) -> Enrichment | None:
        try:
            with self.observe.span("enrich", {"hypocenter.group": note.group_key[:200]}):
                return await self.enricher.enrich(note)
        except Exception:  # noqa: BLE001  fail open: whatever breaks here, the alert goes on
            self.observe.count("enrichments", outcome="error")
            _log.exception("not enriched")
            return None

    async def _follow_up(self, delivery: Delivery) -> None:
        """Send the enrichment that came after the deadline, if it is the one that opened its incident."""
        await asyncio.wait({delivery.enrichment})
        if delivery.enrichment.cancelled() or (added := delivery.enrichment.result()) is None:
            return
        await delivery.done.wait()
        if not delivery.went_untouched or added.role != "first":
            return
        await self._send_after(delivery.note, replace(added, follow_up=1))

    async def _send_after(self, note: Notification, added: Enrichment) -> None:
        """Send what is said after the alert itself, to the receivers that want it."""
        names = [sink.name for sink in self.sinks if sink.config.follow_up]
        if not names:
            return
        body = to_json(note.raw)
        try:
            if self.journal is None:
                raise DeliveryError("no journal")
            entry = await self.journal.add(note.key, "follow-up", body, names, added.to_dict())
        except DeliveryError:
            entry = Entry(0, note.key, time.time_ns(), "follow-up", body, added.to_dict(), tuple(names))
        self._deliver(entry, note)

    async def _finished(self, delivery: Delivery) -> None:
        if delivery.failed:
            self._delivered_at.pop(delivery.entry.key, None)
        elif delivery.entry.enrichment is None:
            self._delivered_at[delivery.entry.key] = time.time_ns()

    async def _keep(self) -> None:
        """Keep incidents as they change, learn names, and forget old keys and notifications."""
        pruned = time.monotonic()
        while True:
            await asyncio.sleep(_KEEP_EVERY_S)
            await self._keep_incidents()
            if not self.enricher.known.services:
                self.enricher.warm()  # a first attempt may have failed, or found an empty store
            if time.monotonic() - pruned > _PRUNE_EVERY_S and self.journal is not None:
                pruned = time.monotonic()
                await self.journal.prune()
            oldest = time.time_ns() - round(self.config.duplicate_window * 1e9)
            for key in [key for key, at in self._delivered_at.items() if 0 < at < oldest]:
                del self._delivered_at[key]

    async def _keep_incidents(self) -> None:
        incidents = self.enricher.incidents
        changed, incidents.changed = incidents.changed, set()
        bodies = {name: one.to_dict() for name in changed if (one := incidents.get(name)) is not None}
        if self.journal is not None and bodies:
            try:
                await self.journal.keep_incidents(bodies)
            except DeliveryError as error:
                _log.error("%s", error)
                incidents.changed |= changed

    def report_path(self, incident: str) -> Path:
        """Return where an incident's report is kept."""
        return self.config.state / "reports" / f"{incident}.html"

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
