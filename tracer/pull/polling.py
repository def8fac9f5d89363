"""Sources that pull again and again: each round the window since the last one, with an overlap for what comes late."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from hypocenter.errors import HypocenterError, Overloaded

from ..batch import Batch, Tally
from ..collect.source import Health
from ..window import MINUTE_NS, SECOND_NS, Window, to_rfc3339
from .alertmanager import Alert, firing_in, read_alerts, to_batch
from .seen import Seen
from .server import Access, Server

if TYPE_CHECKING:
    from ..collect.source import Sink
    from ..store import Store

# A failure within a round costs at most this much of what was pulled.
_ROUND_NS: Final = 10 * MINUTE_NS
_LONGEST_PAUSE_S: Final = 60.0
# Whole traces reach back before the window that found them.
_TRACE_NS: Final = 10 * MINUTE_NS
_log = logging.getLogger(__name__)


class Rounds:
    """Runs a round every ``interval_s``; one that fails is tried again after a pause that doubles up to a minute."""

    def __init__(self, name: str, interval_s: float) -> None:
        self.name = name
        self._interval_s = interval_s
        self._failures: Counter[str] = Counter()
        self._problem: str | None = None
        self._pulled_until_ns: int | None = None

    def health(self) -> Health:
        """Return the error of the last round, the failures by the error's class, and until when all was pulled."""
        until = None if self._pulled_until_ns is None else to_rfc3339(self._pulled_until_ns)
        more = {"reasons": dict(self._failures), "pulled_until": until}
        return Health(self._problem, self._failures.total(), more)

    def _repeat(self, work: Callable[[], bool], stop: threading.Event) -> None:
        """Call ``work`` until stopped; it returns whether more waits, so that it is called again at once."""
        in_a_row = 0
        while not stop.is_set():
            try:
                pause_s = 0.0 if work() else self._interval_s
                in_a_row, self._problem = 0, None
            except HypocenterError as error:
                in_a_row += 1
                self._failures[type(error).__name__] += 1
                self._problem = str(error)
                pause_s = min(_LONGEST_PAUSE_S, 2.0 ** min(in_a_row - 1, 10))
                if in_a_row == 1:
                    _log.warning("%s: %s", self.name, error)
            stop.wait(pause_s)


class PullSource(Rounds):
    """Pulls windows of ``fetch`` into a sink, each row once, also over restarts when ``store`` is where the sink ends.

    Parameters
    ----------
    name, source
        What it is called, and the ``source`` of its rows.
    fetch
        Yields the rows of a window.
    interval_s, overlap_ns, settle_ns
        How often; how far each round reaches back before the last one; how far behind now it ends.
    since_ns
        How far the first round reaches back: what the store holds of that time is not stored again.
    """

    def __init__(
        self,
        name: str,
        source: str,
        fetch: Callable[[Window], Iterator[Batch]],
        *,
        interval_s: float,
        overlap_ns: int,
        since_ns: int,
        settle_ns: int = 0,
        store: Callable[[], Store] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(name, interval_s)
        self._source, self._fetch, self._store, self._clock = source, fetch, store, clock
        self._overlap_ns, self._since_ns, self._settle_ns = overlap_ns, since_ns, settle_ns
        self._seen = Seen()
        self._from_ns: int | None = None

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Pull until ``stop`` is set."""
        self._repeat(lambda: self._round(sink, stop), stop)

    def _round(self, sink: Sink, stop: threading.Event) -> bool:
        now_ns = self._clock() - self._settle_ns
        if self._from_ns is None:
            self._from_ns = self._resumed(now_ns)
        end_ns = min(now_ns, self._from_ns + _ROUND_NS)
        if end_ns <= self._from_ns:
            return False
        for batch in self._fetch(Window(self._from_ns, end_ns)):
            rows, keys = self._seen.new(batch)
            if not put(sink, rows, stop):
                return False
            self._seen.add(keys)
        self._pulled_until_ns = end_ns
        is_behind = end_ns < now_ns
        self._from_ns = max(self._from_ns, end_ns - self._overlap_ns)
        self._seen.forget(self._from_ns - _TRACE_NS)
        return is_behind

    def _resumed(self, now_ns: int) -> int:
        first_ns = now_ns - self._since_ns
        if self._store is None:
            return first_ns
        latest = self._seen.prime(self._store(), self._source, Window(first_ns - _TRACE_NS, now_ns + MINUTE_NS))
        return first_ns if latest is None else max(first_ns, min(latest, now_ns) - self._overlap_ns)


class AlertSource(Rounds):
    """Polls an Alertmanager: an event when an alert begins, and one when it ends or is no longer listed."""

    def __init__(
        self,
        name: str,
        url: str,
        access: Access,
        *,
        interval_s: float,
        store: Callable[[], Store] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(name, interval_s)
        self._url, self._access, self._store, self._clock = url, access, store, clock
        self._seen = Seen()
        self._firing: dict[tuple[str, int], Alert] = {}
        self._is_primed = store is None

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Poll until ``stop`` is set."""
        self._repeat(lambda: self._round(sink, stop), stop)

    def _round(self, sink: Sink, stop: threading.Event) -> bool:
        now_ns, tally = self._clock(), Tally()
        with Server(self._url, self._access, "Alertmanager") as server:
            alerts, base = read_alerts(server, now_ns, tally), server.base
        if not self._is_primed and self._store is not None:
            # An alert may have begun long ago, and events are few.
            store = self._store()
            self._seen.prime(store, base, Window(0, now_ns + MINUTE_NS))
            known = firing_in(store.read("events", filter=pc.field("source") == base))
            self._firing = {(alert.fingerprint, alert.start_ns): alert for alert in known}
            self._is_primed = True
        listed = {(alert.fingerprint, alert.start_ns): alert for alert in alerts}
        gone = [_ended(alert, now_ns) for key, alert in self._firing.items() if key not in listed]
        batch, keys = self._seen.new(to_batch([*alerts, *gone], base, None, tally))
        if put(sink, batch, stop):
            self._seen.add(keys)
            self._firing = {key: alert for key, alert in listed.items() if alert.end_ns is None}
            self._pulled_until_ns = now_ns
        return False


def put(sink: Sink, batch: Batch, stop: threading.Event) -> bool:
    """Put a batch, waiting while the sink is overloaded; return whether it is durable, False when stopped."""
    if not batch.rows and not batch.tally.dropped:
        return True
    while True:
        try:
            sink.put(batch)
            return True
        except Overloaded as error:
            if stop.wait(error.retry_after_s):
                return False


def _ended(alert: Alert, now_ns: int) -> Alert:
    end_ns = now_ns // SECOND_NS * SECOND_NS
    return Alert(alert.fingerprint, alert.start_ns, end_ns, alert.labels, alert.annotations, alert.state)
