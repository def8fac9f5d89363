"""Latency and errors that metrics report of a service, less what its callees explain; for services without spans."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..onset import Split
from .finding import Told
from .series import Series

_NATS_PER_LOG = 2.0


class Signals:
    """Services whose latency or failing share rose more than that of the services they call."""

    kind: ClassVar[str] = "signals"

    def __init__(self, series: Series, services: list[str], calls: np.ndarray, traced: np.ndarray) -> None:
        """``calls`` (n, n) is true where the row calls the column; ``traced`` marks services that spans cover."""
        self._series, self._services, self._calls = series, services, calls
        known = np.isin(series.role, ("latency", "error", "success")) & series.served
        # What is known to be called by nobody and to call nobody cannot be felt elsewhere.
        apart = calls.any() & ~(calls.any(axis=0) | calls.any(axis=1))
        known &= ~(traced | apart)[series.service]
        self._rows = series.restless(np.flatnonzero(known))
        self._slow = series.role[self._rows] == "latency"
        self.not_checked = None if known.any() else "no metric of latency or errors of a service without spans"

    def _rises(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return the largest rise by service, of latency and of errors."""
        series, n = self._series, len(self._services)
        rise = series.rises(split, self._rows)
        latency, errors = np.zeros(n), np.zeros(n)
        slow = self._slow
        np.maximum.at(latency, series.service[self._rows[slow]], rise[slow])
        np.maximum.at(errors, series.service[self._rows[~slow]], rise[~slow])
        return latency, errors

    def score(self, split: Split) -> np.ndarray:
        """Return nats by service: twice the larger unexplained rise in log units."""
        parts = []
        for rise in self._rises(split):
            inherited = np.where(self._calls, rise[None, :], 0.0).max(axis=1, initial=0.0)
            parts.append(np.maximum(rise - inherited, 0.0))
        return np.asarray(_NATS_PER_LOG * np.maximum(*parts))

    def tell(self, split: Split, service: int) -> Told:
        """Name the series that rose most."""
        series = self._series
        rise = np.where(series.service[self._rows] == service, series.rises(split, self._rows), -1.0)
        row = self._rows[int(np.argmax(rise))]
        text = f"{series.name[row]} x{np.exp(rise.max()):.1f} beyond noise, not explained by its callees"
        return Told(text, self._services[service], indicator=str(series.role[row]))
