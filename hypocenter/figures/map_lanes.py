"""The bands of a service map: which group each node belongs to, and in what order the groups stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np


def weight_of(attributes: Mapping[str, Any]) -> float:
    """Return the traffic of an edge, 1 where it is not given."""
    return float(attributes.get("weight", 1.0))


def lanes_of(graph: nx.DiGraph[str], groups: Mapping[str, str]) -> dict[str, str]:
    """Return the lane of each node: its group, else that of the neighbour with most traffic, else one of its own."""
    lane_of = {node: groups[node] for node in graph if groups.get(node)}
    for _ in range(2 if lane_of else 0):
        joined = {}
        for node in sorted(set(graph) - set(lane_of)):
            traffic: dict[str, float] = {}
            for u, v, d in [*graph.in_edges(node, data=True), *graph.out_edges(node, data=True)]:
                lane = lane_of.get(u if v == node else v)
                if lane is not None:
                    traffic[lane] = traffic.get(lane, 0.0) + weight_of(d)
            if traffic:
                joined[node] = max(sorted(traffic), key=lambda lane: traffic[lane])
        lane_of |= joined
    return lane_of | {node: "" for node in graph if node not in lane_of}


def lane_order(graph: nx.DiGraph[str], lane_of: Mapping[str, str]) -> list[str]:
    """Return the lanes from the top, neighbours swapped while that shortens the calls between lanes."""
    lanes = sorted(set(lane_of.values()))
    index = {lane: i for i, lane in enumerate(lanes)}
    between = np.zeros((len(lanes), len(lanes)))
    for u, v in graph.edges:
        between[index[lane_of[u]], index[lane_of[v]]] += 1
    between += between.T
    np.fill_diagonal(between, 0)
    order = np.arange(len(lanes))
    for _ in range(len(lanes)):
        swapped = False
        for i in range(len(lanes) - 1):
            a, b = order[i], order[i + 1]
            # Swapping brings a nearer to all below by one and further from all above, and b the other way round.
            above, below = order[:i], order[i + 2 :]
            gain = between[a][below].sum() - between[a][above].sum() + between[b][above].sum() - between[b][below].sum()
            if gain > 0:
                order[i], order[i + 1], swapped = b, a, True
        if not swapped:
            break
    return [lanes[i] for i in order]
