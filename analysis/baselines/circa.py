"""CIRCA: regression on the parents of a structural graph; what its parents do not explain was intervened on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranking import Ranking
from .scores import FLOOR, best_by_service, moments, ordered, require_metrics, roles, split

if TYPE_CHECKING:
    import networkx as nx

_ANOMALOUS = 3.0
_RIDGE = 1e-6
# Meta metrics of a service, and which of them cause which (section 4.2): traffic -> latency -> errors.
_META = ("rate", "latency", "error")


class Circa:
    """Regression-based hypothesis testing with descendant adjustment, on the call graph instead of a learnt one."""

    name: ClassVar[str] = "circa"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics", "graph"})
    source: ClassVar[str] = "Li et al.: Causal inference-based RCA (CIRCA), KDD 2022, doi:10.1145/3534678.3539041"

    def rank(self, case: Case) -> Ranking:
        """Return services by the adjusted score of their meta metrics, or of the resources that feed their latency.

        Parents: the own rate for latency, the own latency for errors, own resources for latency, the callers' rate for
        the rate, the callees' latency and errors for latency and errors. `NotApplicable` without a graph or without
        any meta metric.
        """
        require_metrics(case)
        graph = case.call_graph
        role = roles(case)
        if not graph.number_of_edges():
            raise NotApplicable("no call graph")
        if not np.isin(role, _META).any():
            raise NotApplicable("no metric of rate, latency or errors")
        normal, abnormal = split(case.metrics, case.alert_ns)
        rows = _rows(case, role)
        parents = {(s, m): _parents(s, m, rows, graph) for s, m in rows}
        score = {node: _excess(node, rows, parents[node], normal, abnormal) for node in rows}
        adjusted = _adjust(score, parents)
        series_score = np.full(len(role), np.nan)
        for node, value in adjusted.items():
            series_score[rows[node]] = value
        return ordered(self.name, best_by_service(case, series_score))


_Node = tuple[str, str]  # service, role


def _rows(case: Case, role: np.ndarray) -> dict[_Node, int]:
    """Return one series for each service and role: the first by name, so that the choice is fixed."""
    found: dict[_Node, int] = {}
    services = case.metrics.series.service.to_numpy()
    for index in np.argsort(case.metrics.series.name.to_numpy(), kind="stable"):
        if isinstance(services[index], str) and role[index] and case.metrics.series.peer.isna().iloc[index]:
            found.setdefault((services[index], str(role[index])), int(index))
    return found


def _parents(service: str, meta: str, rows: dict[_Node, int], graph: nx.DiGraph[str]) -> list[_Node]:
    callees = list(graph.successors(service)) if service in graph else []
    callers = list(graph.predecessors(service)) if service in graph else []
    if meta == "rate":
        wanted = [(c, "rate") for c in callers]
    elif meta == "latency":
        resources = [(s, m) for s, m in rows if s == service and m not in (*_META, "success")]
        wanted = [(service, "rate"), *resources, *((c, "latency") for c in callees)]
    elif meta == "error":
        wanted = [(service, "latency"), *((c, "error") for c in callees)]
    else:
        wanted = [(service, "rate")]
    return [node for node in wanted if node in rows and node != (service, meta)]


def _excess(
    node: _Node, rows: dict[_Node, int], parents: list[_Node], normal: np.ndarray, abnormal: np.ndarray
) -> float:
    """Return the largest |residual| of the window in standard deviations of the baseline's residuals (equation 5)."""
    own = rows[node]
    index = [rows[p] for p in parents]
    known = np.isfinite(normal[[own, *index]]).all(axis=0)
    inside = np.isfinite(abnormal[[own, *index]]).all(axis=0)
    if known.sum() < 3 or not inside.any():
        index, known, inside = [], np.isfinite(normal[own]), np.isfinite(abnormal[own])
    if known.sum() < 3 or not inside.any():
        return np.nan
    y = normal[own, known]
    mean = y.mean()
    if not index:
        residual, after = y - mean, abnormal[own, inside] - mean
    else:
        x, x_after = normal[index][:, known], abnormal[index][:, inside]
        centre, scale = x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)
        scale = np.maximum(scale, FLOOR * np.abs(centre))
        scale = np.where(scale > 0, scale, 1.0)  # a parent that was constantly zero explains nothing
        x, x_after = (x - centre) / scale, (x_after - centre) / scale
        weights = np.linalg.solve(x @ x.T + _RIDGE * known.sum() * np.eye(len(index)), x @ (y - mean))
        residual, after = y - mean - weights @ x, abnormal[own, inside] - mean - weights @ x_after
    spread = moments(residual[None, :])[1][0]
    spread = max(float(spread), FLOOR * abs(float(mean)))
    worst = float(np.abs(after).max())
    if spread == 0:
        return 1 / FLOOR if worst > 0 else 0.0
    return worst / spread


def _adjust(score: dict[_Node, float], parents: dict[_Node, list[_Node]]) -> dict[_Node, float]:
    """Return scores to which an anomalous node adds the largest score of its anomalous children (equation 7)."""
    children: dict[_Node, list[_Node]] = {node: [] for node in score}
    for node, above in parents.items():
        for parent in above:
            children[parent].append(node)
    adjusted = {}
    for node, value in score.items():
        below = [score[c] for c in children[node] if score[c] >= _ANOMALOUS]
        adjusted[node] = value + max(below, default=0.0) if value >= _ANOMALOUS else value
    return adjusted
