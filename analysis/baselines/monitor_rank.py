"""MonitorRank: a random walk on the call graph that prefers services whose metrics move with the symptom's."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hypocenter.errors import ConvergenceError, NotApplicable

from ..case import Case
from ..ranking import Ranking
from .scores import ordered, require_metrics, symptom_of, symptom_similarity

_TOLERANCE, _ITERATIONS = 1e-10, 10_000


class MonitorRank:
    """The stationary distribution of a personalised walk with forward, backward and self edges (section 4.3)."""

    name: ClassVar[str] = "monitor-rank"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics", "graph"})
    source: ClassVar[str] = "Kim, Sumbaly, Shah: Root cause detection, SIGMETRICS 2013, doi:10.1145/2465529.2465753"

    def __init__(self, rho: float = 0.3, alpha: float = 0.1) -> None:
        """``rho`` weighs steps back to a caller, ``alpha`` is the share of teleports to nodes by similarity."""
        self._rho, self._alpha = rho, alpha

    def rank(self, case: Case) -> Ranking:
        """Return services by their share of the walk, services outside the graph unknown."""
        require_metrics(case)
        graph = case.call_graph
        nodes = sorted(n for n in graph if n != "external")
        if not graph.number_of_edges() or not nodes:
            raise NotApplicable("no call graph")
        similarity = symptom_similarity(case, symptom_of(case))
        s = np.array([similarity.get(n, 0.0) for n in nodes])
        calls = np.array([[graph.has_edge(a, b) for b in nodes] for a in nodes], dtype=float)
        np.fill_diagonal(calls, 0.0)
        walk = calls * s[None, :] + self._rho * calls.T * s[None, :] * (calls < calls.T)
        np.fill_diagonal(walk, np.maximum(0.0, s - (calls * s[None, :]).max(axis=1, initial=0.0)))
        teleport = s / s.sum() if s.sum() > 0 else np.full(len(s), 1 / len(s))
        rows = walk.sum(axis=1, keepdims=True)
        # A node from which nothing leads on jumps by similarity.
        walk = np.where(rows > 0, walk / np.where(rows > 0, rows, 1.0), teleport[None, :])
        walk = (1 - self._alpha) * walk + self._alpha * teleport[None, :]
        return ordered(self.name, dict(zip(nodes, map(float, stationary(walk)), strict=True)))


def stationary(walk: np.ndarray) -> np.ndarray:
    """Return the left eigenvector of the row-stochastic ``walk`` (n, n) for 1, summing to 1.

    Raises ConvergenceError after 10,000 steps.

    >>> stationary(np.array([[0.5, 0.5], [0.25, 0.75]])).round(4)
    array([0.3333, 0.6667])
    """
    share = np.full(len(walk), 1 / len(walk))
    for _ in range(_ITERATIONS):
        after = share @ walk
        if np.abs(after - share).sum() < _TOLERANCE:
            return np.asarray(after)
        share = after
    raise ConvergenceError(f"the walk on {len(walk)} nodes did not settle in {_ITERATIONS} steps")
