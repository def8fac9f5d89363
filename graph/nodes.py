"""The nodes of a graph as a table: what their edges say of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from .calls import UNNAMED

if TYPE_CHECKING:
    from .dependency_graph import DependencyGraph

NODE_COLUMNS: Final = [
    *("id", "kind", "namespace", "count", "rate_per_s", "errors", "error_ratio"),
    *("server_p50_s", "server_p95_s", "client_p50_s", "client_p95_s", "calls_made"),
]
_SUMMED: Final = ["count", "adjusted_count", "rate_per_s", "errors"]


def nodes(graph: DependencyGraph) -> pd.DataFrame:
    """Return a row per node in order of name (`NODE_COLUMNS`); counts and durations are of the calls it answered.

    Durations are those that the node measured (``server``) and those that its callers did (``client``): of a database,
    the latter alone. A service whose spans are no side of any call is a node as well.
    """
    edges, ends = graph.edges, graph.calls.ends
    ids = sorted({*ends["source"], *ends["target"], *_recorded(graph)})
    target = ends["target"].map({node: i for i, node in enumerate(ids)}).to_numpy(dtype=np.int64)
    answered = edges.groupby("target")[_SUMMED].sum(min_count=1).reindex(ids)
    made = edges.groupby("source")["count"].sum().reindex(ids)
    frame = pd.DataFrame({"id": ids, "kind": graph.calls.node_kinds(ids), "namespace": _namespaces(graph, ids)})
    for column in ("count", "errors"):
        frame[column] = answered[column].astype("Int64").to_numpy()
    frame["rate_per_s"] = answered["rate_per_s"].to_numpy()
    failed = (edges["error_ratio"] * edges["adjusted_count"]).groupby(edges["target"]).sum(min_count=1)
    frame["error_ratio"] = (failed / answered["adjusted_count"]).reindex(ids).to_numpy()
    for side in ("server", "client"):
        durations = graph.calls.durations[side].grouped(target, len(ids))
        frame[f"{side}_p50_s"], frame[f"{side}_p95_s"] = durations.quantile(0.5), durations.quantile(0.95)
    frame["calls_made"] = made.fillna(0).astype("int64").to_numpy()
    return frame[NODE_COLUMNS]


def _recorded(graph: DependencyGraph) -> list[str]:
    found: list[str] = pc.unique(graph.rollups.instances["service"]).fill_null(UNNAMED).to_pylist()
    return found


def _namespaces(graph: DependencyGraph, ids: list[str]) -> list[str | None]:
    found = graph.rollups.instances.group_by("service").aggregate([("namespace", "min")]).to_pydict()
    of = dict(zip(found["service"], found["namespace_min"], strict=True))
    return [of.get(node) for node in ids]
