"""Faults of the database, the cache, the broker and the third party; and of the users."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg

from ..wiring import BANK, CACHE, DATABASE
from .fault import Fault

if TYPE_CHECKING:
    from ..lab import Lab


class SlowQuery(Fault):
    name = "slow-query"
    meaning = "the index of the stock table is gone: each lookup scans it"
    targets = (DATABASE,)

    def begin(self, lab: Lab) -> None:
        with lab.database() as connection:
            connection.execute("DROP INDEX stock_moves_by_product")
        lab.cache().flushall()  # what was looked up before must not hide it

    def end(self, lab: Lab) -> None:
        with lab.database() as connection:
            connection.execute("CREATE INDEX stock_moves_by_product ON stock_moves (product_id) INCLUDE (quantity)")


class LockContention(Fault):
    name = "lock-contention"
    meaning = "a session locks the payments table for hold_s, again and again"
    targets = (DATABASE,)
    strength = {"hold_s": (0.8, 1.6)}
    _heal: threading.Event
    _thread: threading.Thread

    def begin(self, lab: Lab) -> None:
        self._heal = threading.Event()
        self._thread = threading.Thread(target=self._lock, args=(lab.database(),), daemon=True)
        self._thread.start()

    def end(self, lab: Lab) -> None:
        self._heal.set()
        self._thread.join()

    def _lock(self, connection: psycopg.Connection[Any]) -> None:
        with connection:
            while not self._heal.is_set():
                with connection.transaction():
                    connection.execute("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
                    self._heal.wait(self.parameters["hold_s"])
                self._heal.wait(self.parameters["hold_s"] / 3)


class CacheDown(Fault):
    name = "cache-down"
    meaning = "the cache does not answer (SIGSTOP)"
    targets = (CACHE,)

    def begin(self, lab: Lab) -> None:
        lab.cluster.suspend(lab.cluster.of(CACHE)[0], True)

    def end(self, lab: Lab) -> None:
        lab.cluster.suspend(lab.cluster.of(CACHE)[0], False)


class CacheEvicted(Fault):
    name = "cache-evicted"
    meaning = "the cache loses everything, several times a second"
    targets = (CACHE,)

    def step(self, lab: Lab, since_s: float) -> None:
        lab.cache().flushall()


class PoisonMessage(Fault):
    name = "poison-message"
    meaning = "a message that the worker cannot read comes back to the queue for ever"
    targets = ("fulfilment",)

    def begin(self, lab: Lab) -> None:
        lab.publish("orders", b'{"items": ')

    def end(self, lab: Lab) -> None:
        lab.purge("orders")


class ThirdPartySlow(Fault):
    name = "third-party-slow"
    meaning = "the third party takes long"
    targets = (BANK,)
    strength = {"delay_s": (0.4, 0.8)}
    effect = "slow"

    def begin(self, lab: Lab) -> None:
        lab.cluster.hurt(lab.cluster.of(BANK)[0], {self.effect: self.parameters})

    def end(self, lab: Lab) -> None:
        lab.cluster.hurt(lab.cluster.of(BANK)[0], {})


class ThirdPartyDown(ThirdPartySlow):
    name = "third-party-down"
    meaning = "the third party answers with 503"
    strength = {"share": (0.9, 1.0)}
    effect = "exception"


class TrafficSurge(Fault):
    name, granularity, indicator = "traffic-surge", "indicator", "traffic"
    meaning = "several times as many visits"
    targets = ("gateway",)
    strength = {"times": (4.0, 6.0)}

    def begin(self, lab: Lab) -> None:
        lab.set_traffic(self.parameters["times"])

    def end(self, lab: Lab) -> None:
        lab.set_traffic(1.0)


class Nothing(Fault):
    name = "none"
    meaning = "nothing: a quiet window"
