"""Traversal with ranked correlation: among the anomalous nodes reached from the symptom, the most correlated one."""

from __future__ import annotations

from typing import ClassVar

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranking import Ranking
from .scores import ordered, require_metrics, symptom_of, symptom_similarity
from .traversal import ANOMALOUS, reach, worst_shift


class CorrelationTraversal:
    """Reached anomalous nodes by |correlation| with the symptom's series, then the rest by theirs."""

    name: ClassVar[str] = "correlation-traversal"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics", "graph"})
    source: ClassVar[str] = "Liu et al.: MicroHECL, ICSE-SEIP 2021; as 'ranked correlation' in Hardt et al., CLeaR 2024"

    def rank(self, case: Case) -> Ranking:
        """Return services by correlation (0..1), those that the walk reached above those that it did not (+1)."""
        require_metrics(case)
        if not case.call_graph.number_of_edges():
            raise NotApplicable("no call graph")
        worst = worst_shift(case)
        similarity = symptom_similarity(case, symptom_of(case))
        reached, _ = reach(case, worst)
        suspects = {s for s in reached if worst.get(s, 0.0) > ANOMALOUS}
        return ordered(self.name, {s: similarity.get(s, 0.0) + (s in suspects) for s in worst})
