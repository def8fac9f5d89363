"""A callee that stopped answering while its callers kept calling: client spans that lost their server span."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hypocenter.semconv import KIND_CLIENT

from ..onset import Split
from .failed_calls import Said
from .finding import Told
from .presence import Presence
from .visits import MANY_ORPHANS, Visits, keys_of, usual_callee


class Silence:
    """Services whose server spans are missing under the client spans of their callers."""

    kind: ClassVar[str] = "silence"

    def __init__(self, visits: Visits, said: Said | None = None) -> None:
        """``said`` is what failed calls say of themselves: one without an address was never sent."""
        self._visits = visits
        client = visits.kind == KIND_CLIENT
        if said is not None:
            client &= ~said.unresolved
        answered = np.flatnonzero(client & visits.has_server_child)
        # One operation may call several services: a client that names its peer is compared with calls to the same.
        # Where spans are lost the ways to it are cut in pieces, each too rare to tell.
        cut = visits.orphans >= MANY_ORPHANS
        way, _ = keys_of(*((visits.service, visits.operation) if cut else (visits.path,)), visits.peer)
        callee = usual_callee(visits, way)[way[answered]]
        nothing = np.zeros(len(answered), "i8")
        self._presence = Presence.of(visits, way, answered, nothing, among=client, blamed=callee, change="less")
        self.not_checked = None if len(answered) else "no client span is paired with a server span"

    def score(self, split: Split) -> np.ndarray:
        """Return, by callee, the Bayes factor that calls to it lost their server span."""
        return self._presence.by_service(split)

    def tell(self, split: Split, service: int) -> Told:
        """Name the edge whose callee is silent."""
        test, before, now = self._presence.best(split, service)
        caller = self._visits.services[self._visits.service[self._presence.example[test]]]
        name = self._visits.services[service]
        return Told(
            f"answers {before:.0%} of the calls from {caller} before, {now:.0%} now",
            f"{caller} -> {name}",
            "edge",
            indicator="network",
        )
