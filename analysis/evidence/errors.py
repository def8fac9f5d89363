"""The error origin: a span with an error and no erroring child, as a share of the visits of its operation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.semconv import KIND_CLIENT, STATUS_ERROR

from ..onset import Split
from .finding import Told
from .presence import Presence
from .visits import Visits, keys_of, usual_callee

_TIMEOUT = r"(?i)time.?out|timed.?out|deadline|cancell?ed|abort"
# A failed call that took no longer than most that went well was not held up by its callee.
_LONGEST_USUAL, _SOONER = 0.95, 0.9


class ErrorOrigin:
    """Services in whose spans errors begin; an error of a call that its callee does not share blames the callee's side.

    A client span that fails although its server span is missing or well was lost on the way: the callee usually called
    by this operation is blamed, since the caller's code is not where it failed. A caller that gave up on an answer
    sooner than it usually comes is to blame itself.
    """

    kind: ClassVar[str] = "errors"

    def __init__(self, visits: Visits, spans: pa.Table | None = None) -> None:
        """``spans`` are those of the incident; they tell which failed calls timed out."""
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
        blamed = np.where(
            client & (callee >= 0) & ~_gave_up(visits, rows, context, _timed_out(visits, spans)),
            callee,
            visits.service[rows],
        )
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


def _timed_out(visits: Visits, spans: pa.Table | None) -> np.ndarray:
    """Return which visits say that they waited for no longer."""
    if spans is None:
        return np.zeros(len(visits), bool)
    said = pc.binary_join_element_wise(
        *(pc.fill_null(spans[name], "") for name in ("status_message", "error_type", "events")), " "
    )
    found = spans.filter(pc.match_substring_regex(said, _TIMEOUT)).select(["trace_id", "span_id"])
    rows = visits.ids.append_column("row", pa.array(np.arange(len(visits))))
    timed_out = np.zeros(len(visits), bool)
    timed_out[rows.join(found, ["trace_id", "span_id"], join_type="left semi")["row"].to_numpy()] = True
    return timed_out


def _gave_up(visits: Visits, rows: np.ndarray, context: np.ndarray, timed_out: np.ndarray) -> np.ndarray:
    """Return which failed calls the caller ended: before the answer, which did not fail, or sooner than is usual.

    One that timed out within the usual time counts as well.
    """
    took = visits.duration_ns
    answer = np.full(len(visits), -1)
    crossing = np.flatnonzero(visits.crosses)
    answer[visits.parent[crossing]] = crossing
    well = np.flatnonzero((answer >= 0) & (visits.status != STATUS_ERROR))
    order = well[np.lexsort((took[well], context[well]))]
    n = np.bincount(context[order], minlength=int(context.max(initial=-1)) + 1)
    first = np.cumsum(n) - n

    def usual(share: float) -> np.ndarray:
        if not len(order):
            return np.zeros(len(rows))
        place = np.minimum(first + ((n - 1) * share).astype("i8"), len(order) - 1)
        return np.asarray(np.where(n > 0, took[order[place]], 0.0)[context[rows]])

    served = (answer[rows] >= 0) & (visits.status[answer[rows]] != STATUS_ERROR)
    within = took[rows] <= usual(_LONGEST_USUAL)
    ended = (took[rows] < took[answer[rows]]) | (took[rows] <= _SOONER * usual(0.5)) | timed_out[rows]
    return np.asarray(served & within & ended)
