"""MicroRank: PageRank over abnormal and over normal traces weighs the spectrum of each operation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranking import Ranking
from .scores import ordered, services_of
from .trace_sets import TraceSets, trace_sets

_DAMPING, _CALLS_WEIGHT, _ITERATIONS = 0.85, 0.01, 25
_BALANCE = 0.5
_NEVER = 1e-7


class MicroRank:
    """Personalised PageRank on operations and traces, then the Dstar2 spectrum (sections 3.3 and 3.4)."""

    name: ClassVar[str] = "micro-rank"
    requires: ClassVar[frozenset[str]] = frozenset({"traces"})
    source: ClassVar[str] = "Yu et al.: MicroRank, WWW 2021, doi:10.1145/3442381.3449905"

    def __init__(self, sigmas: float = 1.5) -> None:
        """A trace is abnormal beyond the sum over its operations of mean + ``sigmas`` standard deviations."""
        self._sigmas = sigmas

    def rank(self, case: Case) -> Ranking:
        """Return services by their best operation; `NotApplicable` without spans, or without an abnormal trace.

        Departure from the reference code: the preference of abnormal traces is the paper's weighted sum, whose terms
        the code divides.
        """
        sets = trace_sets(case)
        late = sets.duration_ns > (sets.counts @ (sets.mean_ns + self._sigmas * sets.deviation_ns))
        if not late.any():
            raise NotApplicable("no trace is slower than its operations usually are together")
        failing, passing = _ranks(sets, late, rare=True), _ranks(sets, ~late, rare=False)
        cover_f, cover_p = (sets.counts[late] > 0).sum(axis=0), (sets.counts[~late] > 0).sum(axis=0)
        ef, nf = failing * cover_f, failing * (late.sum() - cover_f)
        ep = np.where(cover_p > 0, passing * cover_p, _NEVER)
        with np.errstate(invalid="ignore", divide="ignore"):
            dstar2 = np.where(ef > 0, ef**2 / (ep + nf), 0.0)
        scores = dict.fromkeys(services_of(case), 0.0)
        best = pd.Series(dstar2).groupby(sets.service).max()
        scores |= {str(s): float(v) for s, v in best.items() if str(s) in scores}
        return ordered(self.name, scores)


def _ranks(sets: TraceSets, chosen: np.ndarray, *, rare: bool) -> np.ndarray:
    """Return the weight of each operation over the chosen traces, shape (n_operations,); 0 where none holds it.

    Traces of one kind (the same set of operations) share their row, so the walk is over kinds with a multiplicity.
    """
    holds = sets.counts[chosen] > 0
    if not len(holds):
        return np.zeros(holds.shape[1])
    kinds, size = np.unique(holds, axis=0, return_counts=True)
    length = kinds.sum(axis=1)
    cover = np.maximum(size @ kinds, 1)
    calls = sets.calls / np.maximum(sets.calls.sum(axis=1, keepdims=True), 1)
    uncommon = (1 / size) / (size @ (1 / size))
    short = (1 / length) / (size @ (1 / length))
    preference = _BALANCE * short + (1 - _BALANCE) * uncommon if rare else uncommon
    start = 1 / (kinds.any(axis=0).sum() + size.sum())
    operations, traces = np.full(kinds.shape[1], start), np.full(len(kinds), start)
    for _ in range(_ITERATIONS):
        new = _DAMPING * ((size * traces / length) @ kinds + _CALLS_WEIGHT * operations @ calls)
        traces = _DAMPING * kinds @ (operations / cover) + (1 - _DAMPING) * preference
        operations, traces = new / new.max(), traces / traces.max()
    operations = np.where(kinds.any(axis=0), operations, 0.0)
    return np.asarray(operations * operations.sum() / max(int(kinds.any(axis=0).sum()), 1))
