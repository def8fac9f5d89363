"""Where the nodes of a service map stand: depth of call from left to right, groups in lanes, few crossings.

The method is the layered drawing of Sugiyama, Tagawa and Toda (1981): turn the calls that close a cycle, layer by the
longest path, order by barycentres, then place by isotonic regression. Every tie falls to the name, so that one
graph has one picture; positions of an earlier picture may be handed in to keep the order that a reader knows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from .map_lanes import lane_order, lanes_of, weight_of

Point = tuple[float, float]
# Beyond this many bends the drawing is dense anyway, and long calls run straight.
_MAX_BENDS = 400
_SWEEPS = 12
# Rows of a lane before its column is folded into several; a page shows about forty names in a column.
_MAX_ROWS = 40
# A bend needs less room than a node.
_BEND_ROOM = 0.3


@dataclass(frozen=True, slots=True)
class Lane:
    """The horizontal band of a group, ``low`` <= y <= ``high``."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions (x grows with the depth of call, y upwards, one unit between neighbours), bends of calls, lanes."""

    positions: dict[str, Point]
    routes: dict[tuple[str, str], list[Point]]
    lanes: tuple[Lane, ...]


def layered(
    graph: nx.DiGraph[str],
    groups: Mapping[str, str] | None = None,
    anchors: Mapping[str, Point] | None = None,
) -> Layout:
    """Return the layout of a directed graph whose edges may carry ``weight`` (the traffic; 1 where absent).

    Parameters
    ----------
    groups : group of a node; a node that is absent joins the group of its heaviest neighbour.
    anchors : positions in an earlier picture; nodes found there keep their order, new ones are fitted in between.

    Notes
    -----
    About O(sweeps x edges); 1,000 nodes with 3,000 edges take about half a second.
    """
    if not graph:
        return Layout({}, {}, ())
    forward = _without_cycles(graph)
    depth = _depths(forward)
    lane_of = lanes_of(graph, groups or {})
    columns, chains = _with_bends(forward, depth, lane_of)
    neighbours = _neighbours(forward, chains)
    lanes = lane_order(graph, lane_of)
    order = _ordered(columns, neighbours, lane_of, lanes, anchors or {})
    places, bands = _placed(order, neighbours, lane_of, lanes, len(graph))
    routes: dict[tuple[str, str], list[Point]] = {}
    for (caller, callee), chain in chains.items():
        bends = [places[bend] for bend in chain]
        routes[caller, callee] = bends
        if graph.has_edge(callee, caller) and not graph.has_edge(caller, callee):
            routes[callee, caller] = routes.pop((caller, callee))[::-1]
    shown = tuple(Lane(name, *bands[name]) for name in lanes)
    return Layout({node: places[node] for node in sorted(graph)}, routes, shown)


def _without_cycles(graph: nx.DiGraph[str]) -> nx.DiGraph[str]:
    """Return the graph with the calls of a cycle that lead back towards the outside turned around."""
    calls: nx.DiGraph[str] = nx.DiGraph()
    calls.add_nodes_from(sorted(graph))
    calls.add_weighted_edges_from((u, v, weight_of(d)) for u, v, d in sorted(graph.edges(data=True)) if u != v)
    cycles = nx.condensation(calls)
    part = cycles.graph["mapping"]
    surplus = {node: calls.out_degree(node, "weight") - calls.in_degree(node, "weight") for node in calls}
    outermost = [
        min(cycles.nodes[p]["members"], key=lambda node: (-surplus[node], node))
        for p in cycles
        if not cycles.in_degree(p)
    ]
    hops = {node: depth for depth, layer in enumerate(nx.bfs_layers(calls, sorted(outermost))) for node in layer}
    rank = {node: (hops[node], -surplus[node], node) for node in calls}
    forward: nx.DiGraph[str] = nx.DiGraph()
    forward.add_nodes_from(calls)
    for u, v, weight in calls.edges(data="weight"):
        a, b = (v, u) if part[u] == part[v] and rank[u] > rank[v] else (u, v)
        forward.add_edge(a, b, weight=weight + forward.get_edge_data(a, b, {"weight": 0.0})["weight"])
    return forward


def _depths(forward: nx.DiGraph[str]) -> dict[str, int]:
    """Return the longest path to each node; one that nobody calls stands just left of what it calls."""
    depth: dict[str, int] = {}
    for node in nx.topological_sort(forward):
        depth[node] = max((depth[caller] + 1 for caller in forward.predecessors(node)), default=0)
    for node in forward:
        if not forward.in_degree(node) and forward.out_degree(node):
            depth[node] = min(depth[callee] for callee in forward.successors(node)) - 1
    return depth


def _with_bends(
    forward: nx.DiGraph[str], depth: Mapping[str, int], lane_of: dict[str, str]
) -> tuple[list[list[str]], dict[tuple[str, str], list[str]]]:
    """Return the nodes of each column with a bend wherever a call crosses it, and the bends of each such call."""
    columns: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for node in sorted(forward):
        columns[depth[node]].append(node)
    long_calls = sorted((u, v) for u, v in forward.edges if depth[v] - depth[u] > 1)
    if sum(depth[v] - depth[u] - 1 for u, v in long_calls) > _MAX_BENDS:
        return columns, {}
    chains = {}
    for u, v in long_calls:
        # A NUL cannot stand in the name of a service, so a bend never collides with one.
        chains[u, v] = [f"{u}\0{v}\0{layer}" for layer in range(depth[u] + 1, depth[v])]
        for layer, bend in zip(range(depth[u] + 1, depth[v]), chains[u, v], strict=True):
            columns[layer].append(bend)
            lane_of[bend] = lane_of[v]
    return columns, chains


def _neighbours(
    forward: nx.DiGraph[str], chains: Mapping[tuple[str, str], list[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return what stands to the left and to the right of each node and bend."""
    left: dict[str, list[str]] = {}
    right: dict[str, list[str]] = {}
    for u, v in sorted(forward.edges):
        steps = [u, *chains.get((u, v), ()), v]
        for a, b in itertools.pairwise(steps):
            right.setdefault(a, []).append(b)
            left.setdefault(b, []).append(a)
    return left, right


def _ordered(
    columns: Sequence[Sequence[str]],
    neighbours: tuple[dict[str, list[str]], dict[str, list[str]]],
    lane_of: Mapping[str, str],
    lanes: Sequence[str],
    anchors: Mapping[str, Point],
) -> list[list[str]]:
    """Return each column from the top, ordered by lane, then barycentre; anchored nodes keep their order."""
    lane_index = {lane: i for i, lane in enumerate(lanes)}
    best = [sorted(column, key=lambda node: (lane_index[lane_of[node]], node)) for column in columns]
    best_crossings = _crossings(best, neighbours[1])
    order = [list(column) for column in best]
    for sweep in range(_SWEEPS):
        side = neighbours[sweep % 2]
        place = {node: i / max(1, len(column)) for column in order for i, node in enumerate(column)}
        for layer in range(len(order)) if sweep % 2 == 0 else reversed(range(len(order))):
            pull = {
                node: np.mean([place[n] for n in side[node]]) if side.get(node) else place[node]
                for node in order[layer]
            }
            order[layer].sort(key=lambda node: (lane_index[lane_of[node]], pull[node]))
            place |= {node: i / max(1, len(order[layer])) for i, node in enumerate(order[layer])}
        crossings = _crossings(order, neighbours[1])
        if crossings < best_crossings:
            best, best_crossings = [list(column) for column in order], crossings
    return [_keep_known_order(column, lane_of, anchors) for column in best]


def _keep_known_order(column: list[str], lane_of: Mapping[str, str], anchors: Mapping[str, Point]) -> list[str]:
    """Return the column with the anchored nodes of each lane in their earlier order: from the top, fold by fold."""
    known = [node for node in column if node in anchors]
    fold = _folds([anchors[node][0] for node in known])
    queue: dict[str, list[str]] = {}
    for node in sorted(known, key=lambda n: (fold[anchors[n][0]], -anchors[n][1])):
        queue.setdefault(lane_of[node], []).append(node)
    return [queue[lane_of[node]].pop(0) if node in anchors else node for node in column]


def _folds(xs: Sequence[float]) -> dict[float, float]:
    """Return the folds of the earlier column that most nodes come from; who comes from another is of its first one.

    Folds are less than a unit apart, columns are not.
    """
    distinct = sorted(set(xs))
    gaps = [i for i, (one, following) in enumerate(itertools.pairwise(distinct), 1) if following - one > _FOLD + 0.01]
    bounds = itertools.pairwise([0, *gaps, len(distinct)])
    columns = [distinct[first:last] for first, last in bounds]
    most = max(columns, key=lambda column: sum(x in column for x in xs))
    return dict.fromkeys(distinct, most[0] if most else 0.0) | {x: x for x in most}


def _crossings(order: Sequence[Sequence[str]], right: Mapping[str, list[str]]) -> int:
    """Return how many calls between neighbouring columns cross: the inversions of their ends."""
    from bisect import bisect_right, insort

    total = 0
    for column, following in itertools.pairwise(order):
        place = {node: i for i, node in enumerate(following)}
        seen: list[int] = []
        for node in column:
            ends = sorted(place[n] for n in right.get(node, ()) if n in place)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _placed(
    order: Sequence[Sequence[str]],
    neighbours: tuple[dict[str, list[str]], dict[str, list[str]]],
    lane_of: Mapping[str, str],
    lanes: Sequence[str],
    size: int,
) -> tuple[dict[str, Point], dict[str, tuple[float, float]]]:
    """Return the point of every node and bend, and the band of every lane."""
    cells = [[[n for n in column if lane_of[n] == lane] for lane in lanes] for column in order]
    rows = max(_MAX_ROWS // len(lanes), round((size / 2) ** 0.5 / len(lanes) * 2), 3)
    heights = [min(rows, max(math.ceil(_height(column[i])) for column in cells)) for i in range(len(lanes))]
    bands: dict[str, tuple[float, float]] = {}
    top = 0.0
    for lane, height in zip(lanes, heights, strict=True):
        bands[lane] = (top - height + 0.5, top - 0.5)
        top -= height + (0.6 if len(lanes) > 1 else 0.0)
    places: dict[str, Point] = {}
    folded = set()
    x = 0.0
    for c in range(len(order)):
        widths = [math.ceil(_height(cell) / height) for cell, height in zip(cells[c], heights, strict=True)]
        for cell, lane, width in zip(cells[c], lanes, widths, strict=True):
            low, high = bands[lane]
            per = -(-len(cell) // max(1, width))
            step = min(1.0, (high - low) / max(1, per - 1))
            for i, node in enumerate(cell):
                middle = (high + low) / 2 + (per - 1) / 2 * step
                places[node] = (x + (i // per) * _FOLD, middle - i % per * step)
            if width > 1:
                folded.add((c, lane))
        x += max(1.0, 1.0 + (max(widths) - 1) * _FOLD)
    _relax(cells, lanes, bands, folded, neighbours, places)
    return places, bands


def _room(node: str) -> float:
    return _BEND_ROOM if "\0" in node else 1.0


def _height(cell: Sequence[str]) -> float:
    """Return the rows that the nodes and bends of a cell need."""
    return sum(_room(node) for node in cell)


# Distance between the columns that one folded layer makes, in units of the distance between layers.
_FOLD = 0.45


def _relax(
    cells: Sequence[Sequence[Sequence[str]]],
    lanes: Sequence[str],
    bands: Mapping[str, tuple[float, float]],
    folded: set[tuple[int, str]],
    neighbours: tuple[dict[str, list[str]], dict[str, list[str]]],
    places: dict[str, Point],
) -> None:
    """Move the nodes of unfolded cells towards their neighbours' heights, keeping order and distance."""
    for sweep in range(8):
        for c in range(len(cells)) if sweep % 2 == 0 else reversed(range(len(cells))):
            for cell, lane in zip(cells[c], lanes, strict=True):
                if not cell or (c, lane) in folded:
                    continue
                wanted = []
                for node in cell:
                    near = [places[n][1] for side in neighbours for n in side.get(node, ())]
                    wanted.append(float(np.mean(near)) if near else places[node][1])
                distance = np.cumsum([0.0, *((_room(a) + _room(b)) / 2 for a, b in itertools.pairwise(cell))])
                low, high = bands[lane]
                heights = np.clip(_decreasing(np.asarray(wanted) + distance), low + distance[-1], high) - distance
                for node, y in zip(cell, heights, strict=True):
                    places[node] = (places[node][0], float(y))


def _decreasing(values: np.ndarray) -> np.ndarray:
    """Return the nearest (least squares) sequence that never increases: pool adjacent violators."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, n = float(value), 1
        while blocks and blocks[-1][0] < mean:
            before, m = blocks.pop()
            mean, n = (before * m + mean * n) / (m + n), m + n
        blocks.append((mean, n))
    return np.repeat([mean for mean, _ in blocks], [n for _, n in blocks])
