"""More requests from outside than usual: what then gives way is not what began it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..onset import Split
from .finding import Told
from .visits import Visits

# As many times as usual, in log units beyond noise, becomes nats: twice the requests are about four, four times ten.
_NATS_PER_LOG = 8.0
_ERRORS = 3.0
_FEWEST_STEPS, _FEWEST_REQUESTS = 3, 20


class Traffic:
    """Entries, services called by nobody else, that receive several times as many requests as before the onset.

    Recordings of other times have other traffic, so a quiet one tells nothing here.
    """

    kind: ClassVar[str] = "traffic"

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        # A visit whose parent span is lost is no entry: only services that are called from outside alone.
        inner = np.unique(visits.service[visits.crosses])
        enters = visits.is_server & (visits.parent < 0) & ~np.isin(visits.service, inner)
        width = visits.clock.n_steps
        kept = np.flatnonzero(enters & (visits.column > 0) & (visits.service >= 0))
        cell = visits.service[kept] * width + visits.column[kept] - 1
        self._count = np.bincount(cell, minlength=len(visits.services) * width).reshape(-1, width).astype(float)
        enough = len(kept) >= _FEWEST_REQUESTS
        self.not_checked = None if enough else "fewer than 20 requests from outside to services nobody else calls"

    def _rates(self, split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (requests per step before, after, rise in log units beyond noise) by service."""
        # `Clock.columns` counts the quiet recording as the first.
        sides = [slice(part.start - 1, part.stop - 1) for part in self._visits.clock.columns(split)]
        before, after = (self._count[:, side] for side in sides)
        if min(before.shape[1], after.shape[1]) < _FEWEST_STEPS:
            nothing = np.zeros(len(self._count))
            return nothing, nothing, nothing
        usual, now = before.mean(axis=1), after.mean(axis=1)
        # Arrivals come in bursts: what steps differ by tells more than the square root of their number.
        error = [np.maximum(part.var(axis=1), part.mean(axis=1)) / part.shape[1] for part in (before, after)]
        low = now - _ERRORS * np.sqrt(sum(error))
        known = (usual > 0) & (low > usual) & (before.sum(axis=1) >= _FEWEST_REQUESTS)
        return usual, now, np.log(np.where(known, low, 1.0) / np.where(known, usual, 1.0))

    def score(self, split: Split) -> np.ndarray:
        """Return nats by service: eight times the growth of requests from outside, in log units beyond noise."""
        return np.asarray(_NATS_PER_LOG * self._rates(split)[2])

    def tell(self, split: Split, service: int) -> Told:
        """Say how many requests came before and come now."""
        usual, now, _ = self._rates(split)
        seconds = self._visits.clock.step_ns / 1e9
        text = f"requests from outside: {usual[service] / seconds:.3g}/s before, {now[service] / seconds:.3g}/s now"
        return Told(text, self._visits.services[service], indicator="rate")
