"""The faults of one replica: switched on through its control port, felt by its own requests."""

from __future__ import annotations

import random
import threading
import time
from typing import Any


class InjectedFailure(RuntimeError):
    """The exception of a failing handler, worded as its service would word it."""


class Switchboard:
    """Holds what is switched on; every effect is real work, waiting or raising inside the request."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._on: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def set(self, faults: dict[str, dict[str, Any]]) -> None:
        """Replace everything that is switched on: parameters by the fault's name; an empty dict heals the replica."""
        with self._lock:
            started = faults.keys() - self._on.keys()
            self._on = faults
        if "cpu-burn" in started:
            for _ in range(round(faults["cpu-burn"]["threads"])):
                threading.Thread(target=self._burn, daemon=True).start()

    def enter(self) -> None:
        """Suffer the faults of a request that begins; raises InjectedFailure in a failing handler."""
        slow = self._on.get("slow-service")
        if slow:
            with self._lock:
                delay = self._random.lognormvariate(0.0, 0.25) * float(slow["delay_s"])
            time.sleep(delay)
        failing = self._on.get("failing-service")
        if failing:
            with self._lock:
                fails = self._random.random() < float(failing["share"])
            if fails:
                raise InjectedFailure("cannot decode pricing rules: unexpected end of input")

    def skips(self, step: str) -> bool:
        """Tell whether the code returns before this step: a fault of the code, silent by nature."""
        return self._on.get("code-fault", {}).get("step") == step

    def _burn(self) -> None:
        # A runaway thread holds the interpreter lock as a busy loop in a real service would.
        while "cpu-burn" in self._on:
            sum(number * number for number in range(2000))
