"""Walk from the symptom to anomalous callees; the anomalous node without anomalous callees is the origin."""

from collections import deque
from typing import ClassVar

import numpy as np

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranking import Ranking
from .scores import best_by_service, ordered, quartiles, require_metrics, scaled, split

_ANOMALOUS = 3.0


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
        graph = case.call_graph
        if not graph.number_of_edges():
            raise NotApplicable("no call graph")
        normal, abnormal = split(case.metrics, case.alert_ns)
        low, centre, high = quartiles(normal)
        shift = np.abs(scaled(quartiles(abnormal)[1] - centre, centre, high - low))
        worst = best_by_service(case, shift)
        symptom = case.symptom.entity
        known = symptom is not None and symptom in graph
        starts = [str(symptom)] if known else [n for n in graph if not graph.in_degree(n)]
        leaves, seen, queue = set(), set(starts), deque(starts)
        while queue:
            node = queue.popleft()
            below = [c for c in graph.successors(node) if worst.get(c, 0.0) > _ANOMALOUS]
            if not below and worst.get(node, 0.0) > _ANOMALOUS:
                leaves.add(node)
            queue += [c for c in below if c not in seen]
            seen |= set(below)
        above = 1.0 + max(worst.values(), default=0.0) if leaves else 0.0
        return ordered(self.name, {s: score + above * (s in leaves) for s, score in worst.items()})
