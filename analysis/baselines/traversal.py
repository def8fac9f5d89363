"""Walk from the symptom to anomalous callees; the anomalous node without anomalous callees is the origin."""

from typing import ClassVar

import numpy as np

from hypocenter.errors import NotApplicable

from ..case import Case
from ..evidence.resources import robust_shift, split
from ..ranking import Ranking
from .scores import ordered, require_metrics, services_of

_ANOMALOUS = 3.0


class Traversal:
    """PetShop's simple baseline: leaves of the anomalous subgraph first, then the other anomalous nodes."""

    name: ClassVar[str] = "traversal"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics", "graph"})
    source: ClassVar[str] = "Hardt et al., The PetShop dataset, CLeaR 2024; Janzing et al. 2024"

    def rank(self, case: Case) -> Ranking:
        """Return services by their shift, those reached from the symptom with no anomalous callee first."""
        require_metrics(case)
        graph = case.call_graph
        if not graph.number_of_edges():
            raise NotApplicable("no call graph")
        normal, abnormal = split(case.metrics, case.alert_ns)
        shift = robust_shift(normal, abnormal)
        worst = dict.fromkeys(services_of(case), 0.0)
        for service, value in zip(case.metrics.series.service, shift, strict=True):
            if service in worst and np.isfinite(value):
                worst[service] = max(worst[service], float(value))
        scores = dict(worst)
        symptom = case.symptom.entity
        known = symptom is not None and symptom in graph
        starts = [str(symptom)] if known else [n for n in graph if not graph.in_degree(n)]
        seen, queue = set(starts), list(starts)
        while queue:
            node = queue.pop(0)
            below = [c for c in graph.successors(node) if worst.get(c, 0.0) > _ANOMALOUS]
            if not below and worst.get(node, 0.0) > _ANOMALOUS:
                scores[node] = worst[node] + 1e6  # above every node that is not such a leaf
            queue += [c for c in below if c not in seen]
            seen |= set(below)
        return ordered(self.name, scores)
