"""Walk from the symptom to anomalous callees; the anomalous node without anomalous callees is the origin."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

import numpy as np

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranking import Ranking
from .scores import best_by_service, ordered, quartiles, require_metrics, scaled, split

ANOMALOUS = 3.0


class Traversal:
    """PetShop's simple baseline: leaves of the anomalous subgraph first, then the other nodes by their shift."""

    name: ClassVar[str] = "traversal"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics", "graph"})
    source: ClassVar[str] = "Hardt et al., The PetShop dataset, CLeaR 2024; Janzing et al. 2024"

    def rank(self, case: Case) -> Ranking:
        """Return services by the shift of their median in interquartile ranges, reached anomalous leaves first.

        The walk begins at the symptom, or at every node without callers when the symptom is not in the graph.
        """
        require_metrics(case)
        if not case.call_graph.number_of_edges():
            raise NotApplicable("no call graph")
        worst = worst_shift(case)
        _, leaves = reach(case, worst)
        above = 1.0 + max(worst.values(), default=0.0) if leaves else 0.0
        return ordered(self.name, {s: score + above * (s in leaves) for s, score in worst.items()})


def worst_shift(case: Case) -> dict[str, float]:
    """Return, per service, the largest |change of the median| over its series, in interquartile ranges."""
    normal, abnormal = split(case.metrics, case.alert_ns)
    low, centre, high = quartiles(normal)
    return best_by_service(case, np.abs(scaled(quartiles(abnormal)[1] - centre, centre, high - low)))


def reach(case: Case, worst: dict[str, float]) -> tuple[set[str], set[str]]:
    """Return (reached, leaves): the nodes reached from the symptom through anomalous callees, and where that ends."""
    graph, symptom = case.call_graph, case.symptom.entity
    known = symptom is not None and symptom in graph
    starts = [str(symptom)] if known else [n for n in graph if not graph.in_degree(n)]
    leaves: set[str] = set()
    seen, queue = set(starts), deque(starts)
    while queue:
        node = queue.popleft()
        below = [c for c in graph.successors(node) if worst.get(c, 0.0) > ANOMALOUS]
        if not below and worst.get(node, 0.0) > ANOMALOUS:
            leaves.add(node)
        queue += [c for c in below if c not in seen]
        seen |= set(below)
    return seen, leaves
