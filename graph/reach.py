"""Blast radius: who depends on a node, what it depends on, and which nodes are the only way to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd

from hypocenter.errors import GraphError

if TYPE_CHECKING:
    from .dependency_graph import DependencyGraph


def _checked(graph: DependencyGraph, node: str) -> nx.DiGraph[str]:
    calls = graph.to_networkx()
    if node not in calls:
        raise GraphError(f"no node {node!r} in the graph; it has {', '.join(sorted(calls)[:10])} ...")
    return calls


def _flow(calls: nx.DiGraph[str], start: str, *, backwards: bool) -> dict[str, float]:
    """Return how often a walk along the calls is expected at each node, beginning with one at ``start``.

    Forwards a node passes on its calls per call answered, backwards its callers' shares; a cycle is walked once.
    """
    walk = calls.reverse(copy=False) if backwards else calls
    # For calls without a cycle this order is topological.
    order = list(nx.dfs_postorder_nodes(walk, start, sort_neighbors=sorted))[::-1]
    position = {node: i for i, node in enumerate(order)}
    amount = dict.fromkeys(order, 0.0) | {start: 1.0}
    for node in order:
        onwards = {v: d.get("adjusted_count", 1) for _, v, d in walk.out_edges(node, data=True) if v != node}
        answered = sum(d.get("adjusted_count", 1) for u, _, d in calls.in_edges(node, data=True) if u != node)
        whole = answered or sum(onwards.values())
        for other, count in onwards.items():
            if position[other] > position[node]:
                amount[other] += amount[node] * count / whole
    return amount


def upstream(graph: DependencyGraph, node: str) -> pd.DataFrame:
    """Return the nodes from which calls reach ``node``: ``id, kind, hops, share``, the largest share first.

    ``share`` (0..1) is the part of the calls answered by ``node`` that came by way of this caller, taking each caller's
    mix of callers as independent of whom it calls.
    """
    calls = _checked(graph, node)
    flow = _flow(calls, node, backwards=True)
    hops = nx.single_source_shortest_path_length(calls.reverse(copy=False), node)
    return _table(calls, node, hops, {"share": flow}, "share")


def downstream(graph: DependencyGraph, node: str) -> pd.DataFrame:
    """Return the nodes that calls from ``node`` reach: ``id, kind, hops, calls_per_call``, the most called first.

    ``calls_per_call`` is how many calls one call of ``node`` is expected to cause there.
    """
    calls = _checked(graph, node)
    flow = _flow(calls, node, backwards=False)
    hops = nx.single_source_shortest_path_length(calls, node)
    return _table(calls, node, hops, {"calls_per_call": flow}, "calls_per_call")


def _table(
    calls: nx.DiGraph[str], node: str, hops: dict[str, int], values: dict[str, dict[str, float]], by: str
) -> pd.DataFrame:
    ids = sorted(set(hops) - {node})
    frame = pd.DataFrame(
        {
            "id": pd.Series(ids, dtype="str"),
            "kind": pd.Series([calls.nodes[n]["kind"] for n in ids], dtype="str"),
            "hops": np.asarray([hops[n] for n in ids], dtype=np.int64),
            **{name: np.asarray([of[n] for n in ids], dtype=float) for name, of in values.items()},
        }
    )
    return frame.sort_values([by, "id"], ascending=[False, True]).reset_index(drop=True)


def _entries(calls: nx.DiGraph[str]) -> list[str]:
    """Return what outsiders call: the callees of an entry node, and services that nobody calls."""
    entered = {v for u, v in calls.edges if calls.nodes[u]["kind"] == "entry"}
    alone = {n for n in calls if calls.nodes[n]["kind"] != "entry" and not set(calls.predecessors(n)) - {n}}
    return sorted(entered | alone)


def entry_points_affected(graph: DependencyGraph, node: str) -> pd.DataFrame:
    """Return the entry points from which calls reach ``node``: ``id, kind, hops, rate_per_s, share``.

    ``share`` (0..1) is the part of all traffic from outside that enters there (NaN where its rate is unknown); the sum
    is the part that a failure of ``node`` can touch.
    """
    calls = _checked(graph, node)
    hops = nx.single_source_shortest_path_length(calls.reverse(copy=False), node)
    rates = {
        entry: [
            d.get("rate_per_s", np.nan)
            for u, _, d in calls.in_edges(entry, data=True)
            if calls.nodes[u]["kind"] == "entry"
        ]
        for entry in _entries(calls)
    }
    whole = sum(sum(rate) for rate in rates.values())
    ids = [entry for entry in rates if entry in hops]
    frame = pd.DataFrame(
        {
            "id": pd.Series(ids, dtype="str"),
            "kind": pd.Series([calls.nodes[n]["kind"] for n in ids], dtype="str"),
            "hops": np.asarray([hops[n] for n in ids], dtype=np.int64),
            "rate_per_s": np.asarray([sum(rates[n]) if rates[n] else np.nan for n in ids], dtype=float),
        }
    )
    frame["share"] = frame["rate_per_s"] / whole if whole else np.nan
    return frame.sort_values(["share", "id"], ascending=[False, True]).reset_index(drop=True)


def cut_services(graph: DependencyGraph) -> pd.DataFrame:
    """Return the nodes on every way from outside to some other node: ``id, kind, cuts_off, calls``, the worst first.

    ``cuts_off`` counts the nodes that no entry point reaches without it, ``calls`` the calls that those answer.
    """
    calls = graph.to_networkx()
    outside = object()
    rooted: nx.DiGraph = nx.DiGraph(calls.edges)
    rooted.add_node(outside)  # where services only call each other, nothing enters
    rooted.add_edges_from((outside, entry) for entry in _entries(calls))
    dominator = nx.immediate_dominators(rooted, outside)
    cut: dict[str, list[str]] = {}
    for node in calls:
        above = dominator.get(node)
        while above is not None and above is not outside:
            cut.setdefault(above, []).append(node)
            above = dominator.get(above)
    answered = {n: sum(d.get("count", 0) for *_, d in calls.in_edges(n, data=True)) for n in calls}
    ids = sorted(cut)
    frame = pd.DataFrame(
        {
            "id": pd.Series(ids, dtype="str"),
            "kind": pd.Series([calls.nodes[n]["kind"] for n in ids], dtype="str"),
            "cuts_off": np.asarray([len(cut[n]) for n in ids], dtype=np.int64),
            "calls": np.asarray([sum(answered[m] for m in cut[n]) for n in ids], dtype=np.int64),
        }
    )
    return frame.sort_values(["cuts_off", "calls", "id"], ascending=[False, False, True]).reset_index(drop=True)


def criticality(graph: DependencyGraph) -> pd.DataFrame:
    """Return how much hangs on each node: ``id, kind, traffic_share, dependents, cuts_off``, the most first.

    ``traffic_share`` (0..1) is the part of all traffic from outside that a failure can touch (NaN where rates are
    unknown), ``dependents`` the nodes whose calls reach it, ``cuts_off`` those that no entry point reaches without it.
    """
    calls = graph.to_networkx()
    cut = cut_services(graph).set_index("id")["cuts_off"]
    ids = sorted(node for node in calls if calls.nodes[node]["kind"] != "entry")
    backwards = calls.reverse(copy=False)
    upstream_of = {node: set(nx.descendants(backwards, node)) for node in ids}
    entries = _entries(calls)
    rates = {
        entry: sum(
            d.get("rate_per_s", np.nan)
            for u, _, d in calls.in_edges(entry, data=True)
            if calls.nodes[u]["kind"] == "entry"
        )
        for entry in entries
    }
    whole = sum(rates.values())
    touched = [sum(rates[e] for e in entries if e == node or e in upstream_of[node]) for node in ids]
    outside = {node for node in calls if calls.nodes[node]["kind"] == "entry"}
    frame = pd.DataFrame(
        {
            "id": pd.Series(ids, dtype="str"),
            "kind": pd.Series([calls.nodes[n]["kind"] for n in ids], dtype="str"),
            "traffic_share": np.asarray(touched, dtype=float) / (whole or np.nan),
            "dependents": np.asarray([len(upstream_of[n] - outside - {n}) for n in ids], dtype=np.int64),
            "cuts_off": np.asarray([cut.get(n, 0) for n in ids], dtype=np.int64),
        }
    )
    order = ["traffic_share", "cuts_off", "dependents", "id"]
    return frame.sort_values(order, ascending=[False, False, False, True]).reset_index(drop=True)
