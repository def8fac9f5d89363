"""The answer that came last before a failure: a caller that fails by itself may have been given a wrong value.

Weak evidence behind that against the caller. What the answer held is not checked, since spans do not tell it.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hypocenter.semconv import KIND_CLIENT, STATUS_ERROR

from ..onset import Split
from .failed_calls import Said
from .finding import Told
from .presence import Presence
from .visits import Visits, keys_of

# The order of events alone convicts nobody: at most so many nats, where all failures come right after one callee.
_MOST_NATS = 3.0
_OF_THE_FAILURE = 0.5  # and at most this part of what tells that the failures are new


class LastAnswers:
    """Callees whose answer, itself without an error, was the last that a caller got before it failed by itself."""

    kind: ClassVar[str] = "last answers"

    def __init__(self, visits: Visits, said: Said | None = None) -> None:
        """``said`` is what failed calls say of themselves."""
        self._visits = visits
        error = visits.status == STATUS_ERROR
        above = np.zeros(len(visits), bool)
        above[visits.parent[error & (visits.parent >= 0)]] = True
        inherited = (said or Said.nothing(visits)).inherited
        failed = error & ~above & ~inherited & visits.enters
        last = _last_callee(visits)
        rows = np.flatnonzero(failed & (last >= 0))
        context, _ = keys_of(visits.service, visits.operation)
        n_contexts = int(context.max(initial=-1)) + 1
        self._presence = Presence.of(visits, context, rows, last[rows], blamed=last[rows], change="more")
        self._failures = visits.count(context, n_contexts, failed)
        self.not_checked = None if (last >= 0).any() else "no visit calls another service"

    def _tests(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return (nats, share of the failures since the onset that come right after the callee's answer) by test."""
        tests = self._presence
        nats, _ = tests.nats(split)
        after = self._visits.clock.parts(tests.hits, split)[2]
        failures = self._visits.clock.parts(self._failures, split)[2][tests.context]
        share = after / np.maximum(failures, 1)
        return np.minimum(_OF_THE_FAILURE * np.maximum(nats, 0.0), _MOST_NATS * share), share

    def score(self, split: Split) -> np.ndarray:
        """Return, by callee, up to 3 nats for failures of its callers that come right after its answer."""
        score = np.zeros(len(self._visits.services))
        np.maximum.at(score, self._presence.service, self._tests(split)[0])
        return score

    def tell(self, split: Split, service: int) -> Told:
        """Name the caller that fails after the answer."""
        tests, visits = self._presence, self._visits
        nats, share = self._tests(split)
        test = int(np.argmax(np.where(tests.service == service, nats, -1.0)))
        at = tests.example[test]
        operation, caller = visits.operations[visits.operation[at]], visits.services[visits.service[at]]
        text = (
            f"its answer came last before {share[test]:.0%} of the failures that begin in {operation} of {caller}; "
            "what it held was not checked"
        )
        return Told(text, visits.services[service], indicator="code")


def _last_callee(visits: Visits) -> np.ndarray:
    """Return, at each row that enters a service, who was the last to answer its calls without an error; -1 for none."""
    crossing = np.flatnonzero(visits.crosses)
    above = visits.parent[crossing]
    # A client span ends when its answer is here; without one the callee's own end is as near.
    heard = np.where(visits.kind[above] == KIND_CLIENT, above, crossing)
    peer = np.flatnonzero((visits.kind == KIND_CLIENT) & (visits.peer >= 0) & ~visits.has_server_child)
    row, callee = np.append(heard, peer), np.append(visits.service[crossing], visits.peer[peer])
    stay = visits.entry[np.append(above, peer)]
    kept = (visits.status[row] != STATUS_ERROR) & (callee >= 0) & (callee != visits.service[stay])
    row, callee, stay = row[kept], callee[kept], stay[kept]
    order = np.argsort(visits.start_ns[row] + visits.duration_ns[row].astype("i8"), kind="stable")
    last = np.full(len(visits), -1)
    last[stay[order]] = callee[order]  # the last one written
    return last
