"""Counterfactual attribution by dowhy: how much less anomalous would the symptom be, had a node's noise been usual?

Needs the extra ``counterfactual``. dowhy's random numbers are numpy's global ones: they are seeded for a ranking and
put back after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from hypocenter.errors import NotApplicable

from ..case import Case
from ..evidence.series import role_of
from ..ranking import Ranking
from .scores import UNKNOWN, ordered, require_metrics, roles, services_of, split, symptom_of

if TYPE_CHECKING:
    import networkx as nx

_SEED, _DRAWS, _PERMUTATIONS = 0, 500, 20
_FEWEST = 10  # steps of a baseline that a regression is fitted on


class Counterfactual:
    """Shapley values of each node's noise in the anomaly of the symptom, in a linear model along the call graph."""

    name: ClassVar[str] = "counterfactual"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics", "graph"})
    source: ClassVar[str] = (
        "Budhathoki et al., Causal structure-based root cause analysis of outliers, ICML 2022, with dowhy, "
        "as Hardt et al. (The PetShop dataset, CLeaR 2024) apply it"
    )

    def rank(self, case: Case) -> Ranking:
        """Return services by their share of the symptom's anomaly; those that it does not depend on come last.

        Each service is one series of the signal that hurts, latency where none is named. `NotApplicable` without a
        graph, without that signal at the symptom, or with fewer than ten steps before the alert.
        """
        require_metrics(case)
        if not case.call_graph.number_of_edges():
            raise NotApplicable("no call graph")
        role = role_of(case.symptom.signal) if case.symptom.signal else "latency"
        rows = _rows(case, role)
        target = symptom_of(case)
        if target not in rows:
            raise NotApplicable(f"no metric of {role} where it hurts")
        normal, abnormal = (_frame(part, rows) for part in split(case.metrics, case.alert_ns))
        causes = causal_graph(case.call_graph, target, set(normal.columns) & set(abnormal.columns))
        if target not in causes or len(normal) < _FEWEST or abnormal.empty:
            raise NotApplicable(f"fewer than {_FEWEST} steps of {role} before the alert, or none after it")
        nodes = sorted(causes)
        found = _attributions(causes, target, normal[nodes], abnormal[nodes].median().to_frame().T)
        return ordered(self.name, dict.fromkeys(services_of(case), UNKNOWN) | found)


def causal_graph(calls: nx.DiGraph[str], target: str, known: set[str]) -> nx.DiGraph[str]:
    """Return the causes of ``target`` among ``known`` services, callee -> caller; calls closing a circle are none."""
    import networkx as nx

    causes: nx.DiGraph[str] = nx.DiGraph()
    if target not in known:
        return causes
    causes.add_node(target)
    pending = [target]
    while pending:
        caller = pending.pop(0)
        for callee in sorted(set(calls.successors(caller) if caller in calls else ()) & known - {caller}):
            seen = callee in causes
            if seen and nx.has_path(causes, caller, callee):
                continue
            causes.add_edge(callee, caller)
            pending += [] if seen else [callee]
    return causes


def _rows(case: Case, role: str) -> dict[str, int]:
    """Return one series of ``role`` for each service: the first by name, so that the choice is fixed."""
    series, found = case.metrics.series, dict[str, int]()
    own = (roles(case) == role) & series.peer.isna().to_numpy() & series.service.notna().to_numpy()
    for row in sorted(np.flatnonzero(own).tolist(), key=lambda i: (str(series.name.iloc[i]), i)):
        found.setdefault(str(series.service.iloc[row]), row)
    return found


def _frame(values: np.ndarray, rows: dict[str, int]) -> pd.DataFrame:
    """Return the steps as rows and the services as columns; a gap is filled with the median, an unknown series left."""
    frame = pd.DataFrame(values[list(rows.values())].T, columns=list(rows)).dropna(axis=1, how="all")
    return frame.fillna(frame.median())


def _attributions(
    causes: nx.DiGraph[str], target: str, normal: pd.DataFrame, abnormal: pd.DataFrame
) -> dict[str, float]:
    from dowhy import gcm  # pyright: ignore[reportMissingImports]
    from dowhy.gcm.ml import create_linear_regressor  # pyright: ignore[reportMissingImports]
    from dowhy.gcm.shapley import ShapleyApproximationMethods, ShapleyConfig  # pyright: ignore[reportMissingImports]

    model = gcm.InvertibleStructuralCausalModel(causes)
    for node in causes:
        above = causes.in_degree(node)
        own: Any = gcm.AdditiveNoiseModel(create_linear_regressor()) if above else gcm.EmpiricalDistribution()
        model.set_causal_mechanism(node, own)
    shapley = ShapleyConfig(
        approximation_method=ShapleyApproximationMethods.PERMUTATION, num_permutations=_PERMUTATIONS, n_jobs=1
    )
    with _quietly_seeded(gcm):
        gcm.fit(model, normal)
        found = gcm.attribute_anomalies(
            model,
            target,
            abnormal,
            anomaly_scorer=gcm.MedianCDFQuantileScorer(),
            num_distribution_samples=_DRAWS,
            shapley_config=shapley,
        )
    return {str(node): float(np.mean(share)) for node, share in found.items()}


@contextmanager
def _quietly_seeded(gcm: Any) -> Iterator[None]:
    state = np.random.get_state()  # noqa: NPY002  what dowhy draws from
    gcm.config.disable_progress_bars()
    gcm.util.general.set_random_seed(_SEED)
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
