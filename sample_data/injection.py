"""Putting the planned fault into the running shop, and taking it out again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from .recorder import Shop

# A crash loop backs off like this between two lives, whatever the downtime.
_ALIVE_S = 12.0


class Injection:
    """One fault: `begin` and `end` switch it, `step` is called often and serves what happens in between."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._plan = shop.plan
        self._active = False
        self._next_s = 0.0
        self._is_down = False
        self._heal = threading.Event()
        self._locker: threading.Thread | None = None

    def __enter__(self) -> Injection:
        return self

    def __exit__(self, *_error: object) -> None:
        self._heal.set()
        if self._locker:
            self._locker.join()

    def begin(self) -> None:
        """Switch the fault on."""
        self._active = True
        place, name = self._plan.kind.place, self._plan.kind.name
        if place == "replica":
            self._control({name: self._plan.parameters})
        elif name == "slow-database":
            with self._shop.connect() as connection:
                connection.execute("drop index stock_moves_by_product")
        elif name == "locked-database":
            self._locker = threading.Thread(target=self._lock_again_and_again, daemon=True)
            self._locker.start()
        elif self._shop.edge:
            self._shop.edge.delay_s = float(self._plan.parameters["delay_s"])

    def end(self) -> None:
        """Switch the fault off."""
        self._active = False
        place, name = self._plan.kind.place, self._plan.kind.name
        if place == "replica":
            self._control({})
        elif name == "slow-database" and self._plan.recovery_s:
            with self._shop.connect() as connection:
                connection.execute("create index stock_moves_by_product on stock_moves (product_id) include (quantity)")
        self._heal.set()
        if self._shop.edge:
            self._shop.edge.delay_s = 0.0

    def step(self, since_s: float) -> None:
        """Serve a crash loop: ``since_s`` counts from the planned injection."""
        if self._plan.kind.place != "process" or not (self._active or self._is_down) or since_s < self._next_s:
            return
        pod = next(pod for pod in self._plan.pods if pod.name == self._plan.pod)
        if self._is_down:
            self._shop.start_replica(pod)
            self._next_s = since_s + _ALIVE_S
        else:
            self._shop.processes.kill(pod.name)
            self._next_s = since_s + float(self._plan.parameters["down_s"])
        self._is_down = not self._is_down

    def _control(self, faults: dict[str, dict[str, Any]]) -> None:
        address = f"http://127.0.0.1:{self._shop.ports[str(self._plan.pod)]}"
        httpx.put(f"{address}/control/faults", json=faults, timeout=10).raise_for_status()

    def _lock_again_and_again(self) -> None:
        hold_s = float(self._plan.parameters["hold_s"])
        with self._shop.connect() as connection:
            while not self._heal.is_set():
                with connection.transaction():
                    connection.execute("lock table cart_items in access exclusive mode")
                    self._heal.wait(hold_s)
                time.sleep(hold_s / 2)
