"""Edges that metrics describe: the star decomposition on their latencies, and edges that fell silent."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..onset import Split
from .bayes import log_bayes_factor
from .finding import Told
from .series import Series
from .star import star_of
from .visits import keys_of

_NATS_PER_LOG = 5.0
_REGULAR = 0.8  # share of the baseline's steps in which a living edge reports


class MetricEdges:
    """Callees the calls to which slow down, and services whose calls stop, as far as metrics of edges tell."""

    kind: ClassVar[str] = "edge metrics"

    def __init__(self, series: Series, services: list[str], traced: np.ndarray) -> None:
        """``traced`` marks services that spans cover; edges between two of them are left to the spans."""
        self._series, self._services = series, services
        known = (series.service >= 0) & (series.peer >= 0) & np.isin(series.role, ("latency", "other"))
        known &= ~(traced[series.service] & traced[series.peer])
        self._rows = np.flatnonzero(known)
        self._pair, first = keys_of(series.service[self._rows], series.peer[self._rows])
        self._caller, self._callee = series.service[self._rows][first], series.peer[self._rows][first]
        # A caller that counts its requests says itself which fail; that it makes fewer is no fault of the edge.
        counted = np.flatnonzero((series.peer >= 0) & (series.role == "rate"))
        counting = set(zip(series.service[counted].tolist(), series.peer[counted].tolist(), strict=True))
        pairs = zip(self._caller.tolist(), self._callee.tolist(), strict=True)
        self._counts = np.array([pair in counting for pair in pairs], bool)
        self._serves = np.flatnonzero(series.served & (series.role == "latency"))
        self.not_checked = None if len(self._rows) else "no metric of an edge without spans"

    def _silence(self, split: Split) -> np.ndarray:
        """Return nats by edge that it stopped reporting, 0 if it never did regularly."""
        series = self._series
        alive = np.nan_to_num(series.raw[self._rows]) > 0
        before, after = alive[:, series.before(split)], alive[:, series.after(split)]
        n, n_after = before.shape[1], after.shape[1]
        hits, hits_after = (np.zeros(len(self._caller)) for _ in range(2))
        np.maximum.at(hits, self._pair, before.sum(axis=1))
        np.maximum.at(hits_after, self._pair, after.sum(axis=1))
        if not n or not n_after:
            return hits
        factor = log_bayes_factor(hits, np.full(len(hits), n), hits_after, np.full(len(hits), n_after))
        silent = (hits >= _REGULAR * n) & (hits_after / n_after < hits / n) & ~self._counts
        return np.where(silent, np.maximum(factor, 0.0), 0.0)

    def _stopped(self, split: Split) -> np.ndarray:
        """Return silence by service: of a callee if all its several callers lost it, else of the caller."""
        n, nats = len(self._services), self._silence(split)
        silent = nats > 0
        callers = np.bincount(self._callee, minlength=n)
        gone = (callers > 1) & (np.bincount(self._callee[silent], minlength=n) == callers)
        blamed = np.where(gone[self._callee], self._callee, self._caller)
        score = np.zeros(n)
        np.maximum.at(score, blamed, nats)
        return score

    def _slowed(self, split: Split) -> np.ndarray:
        shift, noise = self._series.moves(split, self._rows)
        shift = np.sign(shift) * np.maximum(np.abs(shift) - 2 * noise, 0.0)
        best = np.full(len(self._caller), -np.inf)
        np.maximum.at(best, self._pair, np.where(np.isfinite(shift), shift, -np.inf))
        known = np.isfinite(best)
        # A call takes as long as its callee: what the callee itself says it takes is no matter of the edge.
        served = np.zeros(len(self._services))
        np.maximum.at(served, self._series.service[self._serves], self._series.rises(split, self._serves))
        best = np.where(self._counts & (best > 0), np.maximum(best - served[self._callee], 0.0), best)
        star = star_of(self._caller[known], self._callee[known], best[known], len(self._services))
        return np.asarray(np.maximum(np.maximum(star.out, star.incoming), 0.0))

    def score(self, split: Split) -> np.ndarray:
        """Return nats by service: the larger of silence and five times the shift of log latency."""
        return np.asarray(np.maximum(self._stopped(split), _NATS_PER_LOG * self._slowed(split)))

    def tell(self, split: Split, service: int) -> Told:
        """Say whether calls stopped or slowed down."""
        name = self._services[service]
        slowed = float(self._slowed(split)[service])
        if self._stopped(split)[service] <= _NATS_PER_LOG * slowed:
            return Told(f"metrics of its edges: calls take x{np.exp(slowed):.1f} longer", name, indicator="network")
        nats = np.where((self._caller == service) | (self._callee == service), self._silence(split), -1.0)
        edge = int(np.argmax(nats))
        entity = f"{self._services[self._caller[edge]]} -> {self._services[self._callee[edge]]}"
        return Told(f"{entity} reported regularly before, hardly now", entity, "edge", indicator="network")
