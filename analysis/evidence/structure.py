"""Child calls that an operation usually makes and now does not, or the reverse: code faults without latency."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from hypocenter.semconv import KIND_CLIENT, KIND_PRODUCER

from ..onset import Split
from .finding import Told
from .presence import Presence
from .visits import Visits, keys_of

_MIN_VISITS = 50


class Structure:
    """Services whose operations make other child calls than usual.

    A client span without its server span is no change of its caller's code: `silence` weighs it against the callee.
    """

    kind: ClassVar[str] = "structure"

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        child = np.flatnonzero(visits.parent >= 0)
        parent = visits.parent[child]
        lost = np.isin(visits.kind[parent], (KIND_CLIENT, KIND_PRODUCER)) & visits.crosses[child]
        child, parent = child[~lost], parent[~lost]
        # A visit that calls the same operation twice shows it once.
        _, first = keys_of(parent, visits.operation[child])
        tests = Presence.of(visits, visits.path, parent[first], visits.operation[child[first]])
        self._presence = replace(tests, above=_above(visits, tests))
        self.not_checked = None if len(visits) - visits.n_quiet >= _MIN_VISITS else "too few spans"

    def score(self, split: Split) -> np.ndarray:
        """Return, by service, the Bayes factor that the presence of child operations changed."""
        return self._presence.by_service(split)

    def tell(self, split: Split, service: int) -> Told:
        """Name the operation and the child call that changed most."""
        return self._presence.tell(split, service, lambda item: f"calls {self._visits.operations[item]}")


def _above(visits: Visits, tests: Presence) -> np.ndarray:
    """Return, for each test, the test of whether the call that leads to its visits is made; -1 for none."""
    width = len(visits.operations) + 1
    made = tests.context * width + tests.item
    order = np.argsort(made, kind="stable")
    # In-service calls and client spans lie between: climb until a test is found.
    row, above = tests.example.copy(), np.full(len(made), -1)
    for _ in range(2):
        up = np.where(row >= 0, visits.parent[row], -1)
        wanted = np.where(up >= 0, visits.path[up] * width + visits.operation[row], -1)
        place = np.minimum(np.searchsorted(made[order], wanted), len(made) - 1)
        found = (wanted >= 0) & (made[order[place]] == wanted) & (above < 0)
        above = np.where(found, order[place], above)
        row = up
    return above
