"""TraceRCA: services that many abnormal traces share, and few normal ones, and whose own calls are abnormal."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..case import Case
from ..ranking import Ranking
from .scores import ordered, services_of
from .trace_sets import trace_sets


class TraceRca:
    """The best Jaccard-like index over the sets of one and two services that hold it, times its share of slow calls."""

    name: ClassVar[str] = "trace-rca"
    requires: ClassVar[frozenset[str]] = frozenset({"traces"})
    source: ClassVar[str] = "Li et al.: Practical root cause localization (TraceRCA), IWQoS 2021"

    def rank(self, case: Case) -> Ranking:
        """Return services by max over sets of 2sc/(s+c) times the share of slow calls at the service, 0..1.

        Support s = P(set | abnormal trace), confidence c = P(abnormal | set). The paper mines sets of any size; sets of
        one and two services are two matrix products, larger ones have no higher support.
        """
        sets = trace_sets(case)
        names = sorted(set(sets.service))
        member = (sets.service[:, None] == np.array(names)[None, :]).astype(float)
        holds = (sets.counts @ member > 0).astype(float)
        slow, calls = sets.slow @ member, sets.counts @ member
        abnormal = slow.sum(axis=1) > 0
        together, failing = holds.T @ holds, holds[abnormal].T @ holds[abnormal]
        support = failing / max(int(abnormal.sum()), 1)
        confidence = np.divide(failing, together, out=np.zeros_like(failing), where=together > 0)
        both = support + confidence
        index = np.divide(2 * support * confidence, both, out=np.zeros_like(both), where=both > 0)
        share = slow.sum(axis=0) / np.maximum(calls.sum(axis=0), 1)
        scores = dict.fromkeys(services_of(case), 0.0)
        scores |= dict(zip(map(str, names), map(float, index.max(axis=1) * share), strict=True))
        return ordered(self.name, scores)
