"""What is broken inside one process: a file says it, its requests feel it."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine
    from .json_file import JsonFile


class Hurt:
    """Reads ``{effect: {parameter: value}}``; an empty object heals."""

    def __init__(self, file: JsonFile) -> None:
        self._file = file
        self._leaked: list[bytearray] = []
        self._held: list[Any] = []
        self._burning = 0
        self._last = time.monotonic()

    def __getitem__(self, effect: str) -> dict[str, Any] | None:
        return self._file.value.get(effect)

    def enter(self) -> None:
        """Suffer what hits every request: waiting, or an exception."""
        slow = self["slow"]
        if slow:
            # A ramp: the delay grows to its full size over ramp_s.
            grown = min(1.0, (time.time() - slow["since"]) / slow["ramp_s"]) if slow.get("ramp_s") else 1.0
            time.sleep(grown * slow["delay_s"] * random.lognormvariate(0.0, 0.25))
        failing = self["exception"]
        if failing and random.random() < failing["share"]:
            raise KeyError("discount_rules")
        if self["deadlock"]:
            while self["deadlock"]:
                time.sleep(0.1)

    def wrong(self) -> bool:
        """Tell whether this answer is wrong."""
        return bool(self["wrong-value"]) and random.random() < self["wrong-value"]["share"]  # type: ignore[index]

    def tick(self, engine: Engine) -> None:
        """Serve the effects that need no request: memory, threads, connections, the clock."""
        now = time.monotonic()
        leak = self["leak"]
        if leak:
            self._leaked.append(bytearray(random.randbytes(1)) * int(leak["mb_per_s"] * 2**20 * (now - self._last)))
        else:
            self._leaked.clear()
        self._last = now
        burn = self["burn"]
        if burn and not self._burning:
            self._burning = int(burn["threads"])
            for _ in range(self._burning):
                threading.Thread(target=self._burn, daemon=True).start()
        taken = self["take-connections"]
        if taken and not self._held:
            self._held = engine.take_connections(int(taken["count"]))
        elif not taken and self._held:
            engine.give_connections(self._held)
            self._held = []
        engine.set_clock((self["clock"] or {}).get("offset_s", 0.0))

    def _burn(self) -> None:
        while self["burn"]:
            sum(number * number for number in range(2000))
        self._burning = 0
