"""How a failure travels: from a candidate back along the calls that got worse, to the symptom."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property

import networkx as nx
import numpy as np
import pandas as pd

from .case import Case
from .ranking import Candidate

_STEEP = 10.0  # a call that takes e^0.1 times as long halves what a call as before costs
_HOP = 0.25  # and so much any: four calls that got worse are as far as one that did not


class Propagation:
    """Paths over a case's call graph that are short and go along calls that got worse: a fault travels by no others."""

    def __init__(self, case: Case, symptom: str | None, onset_ns: int | None = None) -> None:
        """Calls are compared before and since ``onset_ns``; None: the alert, which comes later."""
        self._symptom = symptom
        self._graph = case.call_graph.copy()
        worse = _worse(case, case.alert_ns if onset_ns is None else onset_ns)
        for caller, callee, data in self._graph.edges(data=True):
            data["weight"] = _HOP + 1.0 / (1.0 + _STEEP * worse.get((caller, callee), 0.0))

    def path(self, origin: str) -> tuple[str, ...]:
        """Return the services from ``origin`` to the symptom, both included; empty if no calls connect them."""
        return tuple(reversed(self._ways.get(origin, ())))

    @cached_property
    def _ways(self) -> dict[str, list[str]]:
        symptom = self._symptom
        if symptom is None or symptom not in self._graph:
            return {}
        ways: dict[str, list[str]] = nx.single_source_dijkstra_path(self._graph, symptom, weight="weight")
        return ways


def ways(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """Return a row per step of the candidates' paths: source (nearer to the origin), target, weight.

    The weight is the summed probability of the candidates whose path takes the step; one without probability counts by
    its place, 1/rank. Beside the first, candidates below 1 % are left out. Paths to one symptom never form a circle.
    """
    rows = [
        (source, target, 1.0 / rank if candidate.probability is None else candidate.probability)
        for rank, candidate in enumerate(candidates, 1)
        if rank == 1 or candidate.probability is None or candidate.probability >= 0.01
        for source, target in itertools.pairwise(candidate.path)
    ]
    frame = pd.DataFrame(rows, columns=["source", "target", "weight"]).astype({"weight": float})
    summed = frame.groupby(["source", "target"], sort=False, as_index=False).weight.sum()
    return summed[summed.weight > 0].reset_index(drop=True)


def _worse(case: Case, onset_ns: int) -> dict[tuple[str, str], float]:
    """Return, by caller and callee, the log ratio of duration since the onset to before, plus failed share."""
    sides = [f"{side}_{what}" for side in ("client", "server") for what in ("duration_ns", "error")]
    calls = case.links.calls.select(["caller", "callee", "start_ns", *sides]).to_pandas()
    if calls.empty:
        return {}
    took = calls.client_duration_ns.fillna(calls.server_duration_ns)
    frame = pd.DataFrame(
        {
            "caller": calls.caller,
            "callee": calls.callee,
            "log": np.log1p(took.clip(lower=0).astype(float) / 1e6),
            "failed": (calls.client_error.eq(True) | calls.server_error.eq(True)).astype(float),
            "after": calls.start_ns >= onset_ns,
        }
    )
    means = frame.groupby(["caller", "callee", "after"])[["log", "failed"]].mean().unstack("after")
    if means.columns.get_level_values("after").nunique() < 2:
        return {}
    rises = [(means[name][True] - means[name][False]).clip(lower=0.0) for name in ("log", "failed")]
    change = rises[0] + rises[1]
    return {(str(a), str(b)): float(v) for (a, b), v in change.fillna(0.0).items()}


def kinds(case: Case) -> dict[str, str]:
    """Return the kind of each node that only its callers show: database, cache, messaging or external."""
    calls = case.links.calls.select(["callee", "callee_kind"]).group_by(["callee", "callee_kind"]).aggregate([])
    pairs = zip(calls["callee"].to_pylist(), calls["callee_kind"].to_pylist(), strict=True)
    found = {str(callee): str(kind) for callee, kind in pairs if kind not in (None, "service", "entry")}
    spoken = set(case.telemetry.table("spans")["service"].unique().to_pylist())
    return {name: kind for name, kind in found.items() if name not in spoken}
