"""The error origin: a span with an error and no erroring child, as a share of the visits of its operation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hypocenter.semconv import KIND_CLIENT, STATUS_ERROR

from ..onset import Split
from .failed_calls import Said
from .finding import Told
from .presence import Presence
from .visits import MANY_ORPHANS, Visits, keys_of, quantile_by, usual_callee

# A failed call that took no longer than most that went well was not held up by its callee.
_LONGEST_USUAL, _SOONER = 0.95, 0.9


class ErrorOrigin:
    """Services in whose spans errors begin; an error of a call that its callee does not share blames the callee's side.

    A client span that fails although its server span is missing or well was lost on the way: the callee usually called
    by this operation is blamed, since the caller's code is not where it failed. A caller that gave up on an answer
    sooner than it usually comes, knows no address or is not let in is to blame itself.
    """

    kind: ClassVar[str] = "errors"

    def __init__(self, visits: Visits, said: Said | None = None) -> None:
        """``said`` is what failed calls say of themselves."""
        self._visits = visits
        said = said or Said.nothing(visits)
        error = visits.status == STATUS_ERROR
        above = np.zeros(len(visits), bool)
        failing = np.flatnonzero(error & (visits.parent >= 0))
        above[visits.parent[failing]] = True
        own = (visits.kind == KIND_CLIENT) | ~said.inherited
        rows = np.flatnonzero(error & ~above & own)
        context, _ = keys_of(visits.service, visits.operation)
        usual = usual_callee(visits, context)
        client = visits.kind[rows] == KIND_CLIENT
        callee = np.where(visits.peer[rows] >= 0, visits.peer[rows], usual[context[rows]])
        own_doing = (said.unresolved | said.refused)[rows] | _gave_up(visits, rows, context, said.timed_out)
        blamed = np.where(client & (callee >= 0) & ~own_doing, callee, visits.service[rows])
        if visits.orphans >= MANY_ORPHANS:
            lost = client & ~visits.has_server_child[rows] & (blamed != visits.service[rows])
            kept = ~(lost & said.passes_on[blamed])
            rows, blamed = rows[kept], blamed[kept]
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
        operation = visits.operations[visits.operation[at]]
        text = f"errors begin in {operation}: {before:.1%} of visits before, {now:.1%} now"
        if owner == name:
            return Told(text, name, operation=operation, indicator="error")
        return Told(text, f"{owner} -> {name}", "edge", indicator="error")


def _gave_up(visits: Visits, rows: np.ndarray, context: np.ndarray, timed_out: np.ndarray) -> np.ndarray:
    """Return which failed calls the caller ended: before the answer, which did not fail, or sooner than is usual.

    One that timed out within the usual time counts as well.
    """
    took = visits.duration_ns
    answer = np.full(len(visits), -1)
    crossing = np.flatnonzero(visits.crosses)
    answer[visits.parent[crossing]] = crossing
    well = np.flatnonzero((answer >= 0) & (visits.status != STATUS_ERROR))
    n_contexts = int(context.max(initial=-1)) + 1

    def usual(share: float) -> np.ndarray:
        return np.asarray(quantile_by(took[well], context[well], n_contexts, share)[context[rows]])

    arrived = answer[rows] >= 0
    served = arrived & (visits.status[answer[rows]] != STATUS_ERROR)
    if visits.orphans >= MANY_ORPHANS:  # a lost answer was like most of those that arrived
        n, well_served = (np.bincount(context[rows], part, n_contexts) for part in (arrived, served))
        served |= ~arrived & (2 * well_served > n)[context[rows]]
    within = took[rows] <= usual(_LONGEST_USUAL)
    ended = (arrived & (took[rows] < took[answer[rows]])) | (took[rows] <= _SOONER * usual(0.5)) | timed_out[rows]
    return np.asarray(served & within & ended)
