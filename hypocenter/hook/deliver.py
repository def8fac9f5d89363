"""Delivery: to each receiver in order, again with back-off while it is down, at last into the dead letters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from opentelemetry.context import Context, get_current

from hypocenter.errors import DeliveryError

from ..legible import visible
from .config import Retry
from .dead import DeadLetters
from .journal import Entry, Journal
from .observe import Observe
from .outward import LANES, Outward
from .payload import Notification
from .sink import Outgoing, Sink
from .text import Enrichment

_log = logging.getLogger(__name__)
# Deliveries that may wait for the journal to note them; what a kill then makes come twice is no more.
UNNOTED = 64
# What is left of the deadline for the delivery itself, and for each that is let go with it: many wait for one ranking.
_RESERVE, _EACH_S = 0.15, 0.002  # share of the deadline; seconds
_LEAST_S = 0.05  # enough for what needs no ranking


@dataclass(eq=False)
class Delivery:
    """One notification on its way; ``done`` is set when every receiver has it or its dead letter is written."""

    entry: Entry
    note: Notification
    enrichment: asyncio.Future[Enrichment | None]
    arrived: float  # monotonic
    deadline: float  # monotonic: no later than this it goes as it came
    left: int
    done: asyncio.Event = field(default_factory=asyncio.Event)
    failed: bool = False
    went_untouched: bool = False
    # It is made where the notification is received, of which its delivery is a part.
    trace: Context = field(default_factory=get_current)

    @property
    def lane(self) -> int:
        """Notifications of a group share a lane."""
        return hash(self.note.group_key) % LANES


class Dispatcher:
    """Lanes of every receiver; ``finished`` is called with each delivery that is done."""

    def __init__(
        self,
        sinks: list[Sink],
        outward: Outward,
        journal: Journal | None,
        dead: DeadLetters,
        retry: Retry,
        observe: Observe,
        finished: Callable[[Delivery], Awaitable[None]],
    ) -> None:
        self.sinks = {sink.name: sink for sink in sinks}
        self._outward = outward
        self.journal = journal
        self._dead = dead
        self._retry = retry
        self._observe = observe
        self._finished = finished
        self._lanes = {(name, lane): asyncio.Queue[Delivery]() for name in self.sinks for lane in range(LANES)}
        self._tasks: list[asyncio.Task[None]] = []
        self._notes: set[asyncio.Task[None]] = set()
        self._may_note = asyncio.Semaphore(UNNOTED)
        self._waiting: Counter[str] = Counter()
        self.pending: set[Delivery] = set()
        observe.gauge("queue", "Notifications that a receiver does not have yet, by sink", lambda: dict(self._waiting))

    def start(self) -> None:
        """Begin to deliver."""
        self._tasks = [asyncio.create_task(self._run(*place)) for place in self._lanes]

    async def stop(self, grace_s: float) -> None:
        """Deliver what can be within ``grace_s`` seconds; the rest stays in the journal."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self.pending:
                    await asyncio.wait([asyncio.create_task(d.done.wait()) for d in self.pending])
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._notes)

    def put(self, delivery: Delivery) -> None:
        """Queue a notification for the receivers that wait for it."""
        self.pending.add(delivery)
        for name in delivery.entry.sinks:
            self._waiting[name] += 1
            self._lanes[name, delivery.lane].put_nowait(delivery)

    async def _run(self, name: str, lane: int) -> None:
        queue, sink = self._lanes[name, lane], self.sinks[name]
        while True:
            delivery = await queue.get()
            try:
                await self._deliver(sink, delivery)
            except OSError as error:
                # Neither delivered nor a dead letter: it stays in the journal and comes again at the next start.
                _log.error("sink %s: %s", name, error)
                delivery.failed = True
            except Exception:  # noqa: BLE001  a lane that ends would hold up its groups for ever
                _log.exception("sink %s: a notification is left in the journal", name)
                delivery.failed = True
            finally:
                self._waiting[name] -= 1
                delivery.left -= 1
            if delivery.left == 0:
                self.pending.discard(delivery)
                delivery.done.set()
                await self._finished(delivery)

    async def _deliver(self, sink: Sink, delivery: Delivery) -> None:
        added = await self._enrichment(delivery)
        entry, key = delivery.entry, _key(delivery.entry, added)
        outgoing, failure = _render(sink, delivery.note, added)
        if failure is not None:
            await self._give_up(sink, entry, failure, added)
        elif outgoing is not None:
            reason = await self._send(sink, outgoing, key, delivery)
            if reason is not None:
                await self._give_up(sink, entry, reason, added)
            else:
                how = "follow-up" if added and added.follow_up else "enriched" if added else "untouched"
                self._observe.count("delivered", sink=sink.name, how=how)
                self._observe.time("notification", time.monotonic() - delivery.arrived, sink=sink.name)
        if self.journal is not None and entry.seq:
            # The next of this lane need not wait for the disk.
            await self._may_note.acquire()
            task = asyncio.create_task(self._note(self.journal, entry.seq, sink.name))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)

    async def _note(self, journal: Journal, seq: int, sink: str) -> None:
        try:
            await journal.delivered(seq, sink)
        except DeliveryError as error:
            _log.error("sink %s: %s; it is delivered and comes again at the next start", sink, error)
        finally:
            self._may_note.release()

    async def _enrichment(self, delivery: Delivery) -> Enrichment | None:
        """Wait for the enrichment, at most until the deadline."""
        until_deadline = delivery.deadline - time.monotonic()
        reserve = _RESERVE * (delivery.deadline - delivery.arrived) + _EACH_S * len(self.pending)
        left = max(until_deadline - reserve, min(until_deadline, _LEAST_S))
        if not delivery.enrichment.done() and left > 0 and not delivery.went_untouched:
            await asyncio.wait({delivery.enrichment}, timeout=left)
        # Once one receiver got it untouched, the enrichment follows for all.
        if delivery.went_untouched or not delivery.enrichment.done():
            delivery.went_untouched = True
            return None
        if delivery.enrichment.cancelled() or delivery.enrichment.exception() is not None:
            return None
        return delivery.enrichment.result()

    async def _send(self, sink: Sink, outgoing: Outgoing, key: str, delivery: Delivery) -> str | None:
        """Return None once it is delivered, else why it was given up."""
        wait_s, end = self._retry.first, time.monotonic() + self._retry.give_up
        while True:
            with self._observe.span("deliver", {"hypocenter.sink": sink.name}, delivery.trace):
                attempt = await self._outward.attempt(sink, outgoing, key, delivery.lane)
            self._observe.count("attempts", sink=sink.name, outcome=attempt.outcome)
            if attempt.outcome == "delivered":
                return None
            if attempt.outcome == "refused" or time.monotonic() >= end:
                return attempt.reason
            _log.warning("sink %s: %s; tried again in about %.1f s", sink.name, attempt.reason, wait_s)
            # Of many senders that failed together, not all come back together.
            await asyncio.sleep(max(attempt.after_s, wait_s * random.uniform(0.5, 1.0)))
            wait_s = min(2 * wait_s, self._retry.longest)

    async def _give_up(self, sink: Sink, entry: Entry, reason: str, added: Enrichment | None) -> None:
        path = await asyncio.to_thread(self._dead.put, entry, sink.name, reason, added)
        self._observe.count("dead_letters", sink=sink.name, reason=reason.split(":", 1)[0])
        _log.error("sink %s: %s; kept as %s, send it again with: hypocenter hook replay", sink.name, reason, path)


def _key(entry: Entry, added: Enrichment | None) -> str:
    """Return the idempotency key: a follow-up is a message of its own."""
    return f"{entry.key}-follow-up-{added.follow_up}" if added is not None and added.follow_up else entry.key


def _render(sink: Sink, note: Notification, added: Enrichment | None) -> tuple[Outgoing | None, str | None]:
    """Return the request, or why there is none; what breaks with the enrichment goes without it."""
    import jinja2

    failure = None
    for extra in [added, None] if added is not None else [None]:
        try:
            return sink.render(note, extra), None
        except (jinja2.TemplateError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            failure = visible(f"not rendered: {type(error).__name__}: {error}")
    return None, failure
