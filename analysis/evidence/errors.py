"""The error origin: a span with an error and no erroring child, as a share of the visits of its operation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hypocenter.semconv import KIND_CLIENT, STATUS_ERROR

from ..onset import Split
from .finding import Told
from .presence import Presence
from .visits import Visits, keys_of, usual_callee

# A failed call that took no longer than this many times the usual was not held up by its callee.
_AS_USUAL = 1.5


class ErrorOrigin:
    """Services in whose spans errors begin; an error of a call that its callee does not share blames the callee's side.

    A client span that fails although its server span is missing or well was lost on the way: the callee usually called
    by this operation is blamed, since the caller's code is not where it failed. A caller that gave up on an answer
    sooner than it usually comes is to blame itself.
    """

    kind: ClassVar[str] = "errors"

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        error = visits.status == STATUS_ERROR
        above = np.zeros(len(visits), bool)
        failing = np.flatnonzero(error & (visits.parent >= 0))
        above[visits.parent[failing]] = True
        rows = np.flatnonzero(error & ~above)
        context, _ = keys_of(visits.service, visits.operation)
        usual = usual_callee(visits, context)
        client = visits.kind[rows] == KIND_CLIENT
        callee = np.where(visits.peer[rows] >= 0, visits.peer[rows], usual[context[rows]])
        blamed = np.where(client & (callee >= 0) & ~_gave_up(visits, rows, context), callee, visits.service[rows])
        self._presence = Presence.of(visits, context, rows, np.zeros(len(rows), "i8"), blamed=blamed, change="more")
        told = bool((visits.status != 0).any())
        self.not_checked = None if told else "no span carries a status"

    def score(self, split: Split) -> np.ndarray:
        """Return, by service, the Bayes factor that more of the visits begin an error."""
        return self._presence.by_service(split)

    def tell(self, split: Split, service: int) -> Told:
        """Name the operation that fails, or the edge on which it does."""
        test, before, now = self._presence.best(split, service)
        visits, at = self._visits, self._presence.example[test]
        name, owner = visits.services[service], visits.services[visits.service[at]]
        text = (
            f"errors begin in {visits.operations[visits.operation[at]]}: {before:.1%} of visits before, {now:.1%} now"
        )
        return Told(text, name) if owner == name else Told(text, f"{owner} -> {name}", "edge")


def _gave_up(visits: Visits, rows: np.ndarray, context: np.ndarray) -> np.ndarray:
    """Return which of the failed calls ended before their answer, which did not fail, and no later than is usual."""
    answer = np.full(len(visits), -1)
    crossing = np.flatnonzero(visits.crosses)
    answer[visits.parent[crossing]] = crossing
    well = np.flatnonzero((answer >= 0) & (visits.status != STATUS_ERROR))
    order = well[np.lexsort((visits.duration_ns[well], context[well]))]
    n = np.bincount(context[order], minlength=int(context.max(initial=-1)) + 1)
    middle = np.cumsum(n) - n + (n - 1) // 2
    usual = np.where(n > 0, visits.duration_ns[order[np.minimum(middle, len(order) - 1)]] if len(order) else 0.0, 0.0)
    took = visits.duration_ns
    early = (answer[rows] >= 0) & (visits.status[answer[rows]] != STATUS_ERROR) & (took[rows] < took[answer[rows]])
    return np.asarray(early & (visits.duration_ns[rows] <= _AS_USUAL * usual[context[rows]]))
