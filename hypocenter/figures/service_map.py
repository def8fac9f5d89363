"""The service map: a dependency graph as a plotly figure, readable at ten, a hundred and a thousand services."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..errors import GraphError
from ..legible import shortened, visible
from ..tracer.window import to_rfc3339
from .look import INK, PAPER, blank, in_one_look, plain
from .map_curves import clear_point, loop, smooth
from .map_layout import Layout, Point, layered
from .map_names import fitting, size_px
from .map_scale import SHAPES, Scale, legend
from .map_text import edge_text, label, node_text, number

if TYPE_CHECKING:
    from ..graph.dependency_graph import DependencyGraph

Record = dict[str, Any]
_WIDTHS = (1.0, 1.8, 3.0, 4.8)
_HALO_PX, _EDGE_REACH_PX = 10.0, 5.0
_PAGE_WIDTH_PX = 1360
_MOST_NAMES = 110
TOWARDS = ("both", "callers", "callees")
_OUTLINE, _LANES, _LANE_NAME = "#3e4c59", ("#eaeff4", "#f4f6f8"), "#52606d"
_LANE_NAME_PX, _LANE_NAME_RISE = 11, 0.48
_BEHIND_ORIGIN, _BEHIND_SYMPTOM = "#ffd166", "#9ad0f5"


@in_one_look
def service_map(
    graph: DependencyGraph,
    highlight: Sequence[str] = (),
    symptom: str | None = None,
    *,
    way: Sequence[str] = (),
    colour: str = "errors",
    focus: str | None = None,
    hops: int = 1,
    towards: str = "both",
    least_share: float = 0.0,
    positions: Mapping[str, Point] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Return the map: depth of call from left to right, line width by rate, colour by errors or latency, shape by kind.

    Parameters
    ----------
    highlight : likely origins, the first one first; the way from ``symptom`` to each is drawn boldly.
    way : the nodes from the first origin to the symptom, where it is known which way the failure took.
    colour : ``errors`` (error ratio) or ``latency`` (95th percentile).
    focus, hops : show only what lies within so many calls of this node, highlighted or not.
    towards : of a focus ``callers``, ``callees`` or ``both``.
    least_share : leave out calls below this share (0..1) of the busiest edge's, and what they alone lead to.
    positions : of an earlier map (``figure.layout.meta["positions"]``), so that nodes keep their order.

    Raises
    ------
    GraphError
        If a named node is not in the graph.
    ValueError
        For another colour or direction.
    """
    if colour not in ("errors", "latency"):
        raise ValueError(f"colour is one of errors, latency; got {colour!r}")
    if towards not in TOWARDS:
        raise ValueError(f"towards is one of {', '.join(TOWARDS)}; got {towards!r}")
    nodes = {node["id"]: node for node in with_traffic(graph.nodes, "count").to_dict("records")}
    edges = {
        (edge["source"], edge["target"]): edge
        for edge in with_traffic(graph.edges, "adjusted_count").to_dict("records")
    }
    for name in [*highlight, *(n for n in (symptom, focus) if n is not None)]:
        if name not in nodes:
            raise GraphError(f"no node {name!r} in {graph!r}")
    named = {name for name in (*highlight, symptom, focus) if name is not None}
    if least_share > 0:
        least = least_share * max((edge["traffic"] for edge in edges.values()), default=0.0)
        edges = {ends: edge for ends, edge in edges.items() if edge["traffic"] >= least}
        led_to = {name for ends in edges for name in ends} | named
        nodes = {name: node for name, node in nodes.items() if name in led_to}
    if focus is not None:
        near = _near(focus, hops, towards, edges)
        nodes = {name: node for name, node in nodes.items() if name in near}
        edges = {ends: edge for ends, edge in edges.items() if ends[0] in near and ends[1] in near}
    origins, felt = tuple(n for n in highlight if n in nodes), symptom if symptom in nodes else None
    return ServiceMap(nodes, edges, origins, felt, colour, positions, tuple(way)).figure(
        title or _title(graph, nodes, edges)
    )


def _near(focus: str, hops: int, towards: str, edges: Iterable[tuple[str, str]]) -> set[str]:
    """Return the nodes within so many calls of ``focus``, itself among them."""
    calls: nx.DiGraph[str] = nx.DiGraph(list(edges))
    calls.add_node(focus)
    walk = {"both": calls.to_undirected, "callers": calls.reverse, "callees": calls.copy}[towards]()
    return set(nx.single_source_shortest_path_length(walk, focus, cutoff=hops))


def with_traffic(frame: pd.DataFrame, calls: str) -> pd.DataFrame:
    """Return nodes or edges with ``traffic``, what sizes and widths show: the rate, without times the calls."""
    counted = frame[calls].astype("Float64").fillna(1.0).astype(float)
    named = {"namespace": frame["namespace"].fillna("")} if "namespace" in frame else {}
    return frame.assign(**named, traffic=frame["rate_per_s"].fillna(counted))


def _title(graph: DependencyGraph, nodes: Mapping[str, Record], edges: Mapping[tuple[str, str], Record]) -> str:
    services = sum(node["kind"] == "service" for node in nodes.values())
    size = f"{services:,} services, {len(edges):,} edges"
    if not graph.windows:
        return size
    rate = sum(edge["rate_per_s"] for edge in edges.values())
    start, end = (to_rfc3339(time_ns) for time_ns in (graph.window.start_ns, graph.window.end_ns))
    seen = "" if graph.sample == 1 else f", of one trace in {graph.sample}"
    return f"{size}, {number(rate)} calls/s{seen} · {start} to {end}"


class ServiceMap:
    """One drawing: the parts of the figure share the layout and the highlighted path."""

    def __init__(
        self,
        nodes: dict[str, Record],
        edges: dict[tuple[str, str], Record],
        origins: tuple[str, ...],
        symptom: str | None,
        colour: str,
        positions: Mapping[str, Point] | None,
        way: tuple[str, ...] = (),
    ) -> None:
        self.way = way
        self.nodes, self.edges, self.origins, self.symptom = nodes, edges, origins, symptom
        self.scale = Scale.named(colour)
        for record in edges.values():
            record["p95_s"] = _first_known(record["client_p95_s"], record["server_p95_s"])
        for record in nodes.values():
            # A database measures nothing itself; its callers do.
            record["p95_s"] = _first_known(record["server_p95_s"], record["client_p95_s"])
        self.calls: nx.DiGraph[str] = nx.DiGraph()
        self.calls.add_nodes_from(nodes)
        self.calls.add_edges_from((u, v, {"weight": edge["traffic"]}) for (u, v), edge in edges.items())
        groups = {name: node["namespace"] for name, node in nodes.items() if node["namespace"]}
        # Lanes tell groups apart, not single nodes.
        are_groups = 1 < len(set(groups.values())) < len(groups)
        self.layout: Layout = layered(self.calls, groups if are_groups else {}, positions)
        self.lanes = [lane for lane in self.layout.lanes if lane.name]
        self.path = self._path()
        rows = max((y for _, y in self.layout.positions.values()), default=0.0) - min(
            (y for _, y in self.layout.positions.values()), default=0.0
        )
        self.height_px = int(min(1100, max(460, 190 + 62 * (rows + 1))))
        (x0, x1), (y0, y1) = self.ranges = self._ranges()
        self.px_per_unit = np.array([_PAGE_WIDTH_PX / (x1 - x0), (self.height_px - 106) / (y1 - y0)])
        self.radius_px = self._radii()
        # From the middle of a node to where lines end and its name may begin.
        marked = {*origins, symptom}
        self.reach_px = {name: r + (_HALO_PX if name in marked else 0.0) for name, r in self.radius_px.items()}
        self.curve = np.linspace(0.0, 1.0, 21 if len(edges) < 300 else 9)

    def _path(self) -> list[tuple[str, str]]:
        """Return the calls between symptom and origins: the known way, else the shortest with or against them."""
        told = [(caller, callee) for callee, caller in itertools.pairwise(self.way)]
        is_whole = bool(told) and all(ends in self.edges for ends in told)
        path: dict[tuple[str, str], None] = dict.fromkeys(told if is_whole else ())
        for origin in self.origins[1 if is_whole else 0 :]:
            if self.symptom is None or self.symptom == origin:
                continue
            for walk in (self.calls, self.calls.to_undirected(as_view=True)):
                if nx.has_path(walk, self.symptom, origin):
                    steps = nx.shortest_path(walk, self.symptom, origin)
                    for u, v in itertools.pairwise(steps):
                        path[(u, v) if (u, v) in self.edges else (v, u)] = None
                    break
        return list(path)

    def _radii(self) -> dict[str, float]:
        base = float(np.interp(len(self.nodes), [8, 40, 120, 400, 1200], [16, 11, 7.5, 4.5, 3.5]))
        rate = {n: node["traffic"] for n, node in self.nodes.items()}
        most = max(rate.values(), default=0.0) or 1.0
        radius = {n: base * (0.75 + 0.6 * math.sqrt(r / most)) for n, r in rate.items()}
        for name in (*self.origins, *([self.symptom] if self.symptom else [])):
            radius[name] = max(radius[name], 9.0)
        return radius

    def _fill(self, node: Record) -> str:
        outside = node["kind"] in ("entry", "unknown")
        return INK if outside else self.scale.colour(self.scale.number(node[self.scale.measure]))

    def figure(self, title: str) -> go.Figure:
        figure = blank(self.height_px)
        figure.add_traces([*self._lines(), *self._bold_path(), *self._halos(), *self._marks(), *self._names()])
        figure.add_trace(self._hover_of_edges())
        shown = [*self.edges.values(), *(n for n in self.nodes.values() if n["kind"] not in ("entry", "unknown"))]
        numbers = {self.scale.number(record[self.scale.measure]) for record in shown}
        figure.add_traces(list(legend({node["kind"] for node in self.nodes.values()}, self.scale, numbers)))
        x_range, y_range = self.ranges
        for i, lane in enumerate(self.lanes):
            figure.add_shape(
                type="rect", layer="below", x0=x_range[0], x1=x_range[1], y0=lane.low - 0.5, y1=lane.high + 0.5,
                fillcolor=_LANES[i % 2], line_width=0,
            )  # fmt: skip
            figure.add_annotation(
                x=x_range[0], y=lane.high + _LANE_NAME_RISE, text=f"<b>{plain(lane.name, 40)}</b>", showarrow=False,
                xanchor="left", yanchor="top", font={"size": _LANE_NAME_PX, "color": _LANE_NAME},
            )  # fmt: skip
        figure.update_layout(
            title={"text": plain(title, 200)}, margin={"l": 20, "r": 20, "t": 46, "b": 60}, hovermode="closest",
            legend={
                "orientation": "h", "y": -0.02, "yanchor": "top", "x": 0, "itemclick": False, "itemdoubleclick": False,
            },
            xaxis={"visible": False, "range": x_range}, yaxis={"visible": False, "range": y_range},
            meta={"positions": {name: list(point) for name, point in self.layout.positions.items()}},
        )  # fmt: skip
        return figure

    def _ranges(self) -> tuple[list[float], list[float]]:
        points = [*self.layout.positions.values(), *(p for route in self.layout.routes.values() for p in route)]
        xs, ys = [x for x, _ in points] or [0.0], [y for _, y in points] or [0.0]
        side = max(0.6, (max(xs) - min(xs)) * 0.05)
        # A lane ends beyond its nodes, and its name stands at its upper edge.
        ends = [end for lane in self.lanes for end in (lane.low - 0.5, lane.high + 0.5)]
        low, high = min([min(ys) - 1.0, *ends]), max([max(ys) + 1.0, *ends])
        return [min(xs) - side, max(xs) + side], [low, high]

    def _curve(self, caller: str, callee: str) -> np.ndarray:
        """Return points (n, 2) of the line of a call."""
        start, end = self.layout.positions[caller], self.layout.positions[callee]
        if caller == callee:
            return loop(start, (self.radius_px[caller] + 4) / self.px_per_unit, self.curve)
        return smooth([start, *self.layout.routes.get((caller, callee), ()), end], self.curve)

    def _lines(self) -> Iterable[go.Scatter]:
        """Yield the calls, one trace for all of a colour and width, healthy and light ones first."""
        most = max((edge["traffic"] for edge in self.edges.values()), default=0.0) or 1.0
        bins: dict[tuple[int, int], list[tuple[str, str]]] = {}
        for ends, edge in self.edges.items():
            number = self.scale.number(edge[self.scale.measure])
            share = 1 + math.log10(max(edge["traffic"] / most, 1e-3)) / 3
            bins.setdefault((number, min(3, int(share * 4))), []).append(ends)
        faint = 0.35 if self.path else float(np.interp(len(self.edges), [60, 600, 2000], [0.9, 0.4, 0.2]))
        thin = float(np.interp(len(self.edges), [60, 600, 2000], [1.0, 0.7, 0.5]))
        of_colour: Counter[int] = Counter()
        for (number, _), calls in bins.items():
            of_colour[number] += len(calls)
        for (number, width), calls in sorted(bins.items()):
            # What few calls show stands out; what most show does not cover the rest.
            loud = max(faint, float(np.interp(of_colour[number], [300, 1000, 3000], [0.85, 0.4, 0.25])))
            yield self._line(
                calls,
                self.scale.colour(number),
                _WIDTHS[width] * thin,
                opacity=min(0.9, faint * (1 + width / 2)) if number <= 0 else loud,
                dash=self.scale.dash(number),
            )

    def _line(
        self, calls: Sequence[tuple[str, str]], colour: str, width: float, *, opacity: float, dash: str = "solid"
    ) -> go.Scatter:
        xs: list[float | None] = []
        ys: list[float | None] = []
        sizes: list[float] = []
        gaps: list[float] = []
        arrow = float(np.interp(len(self.edges), [60, 600, 2000], [7, 5, 3])) + 2.2 * width
        for caller, callee in calls:
            points = self._curve(caller, callee)
            xs += [*points[:, 0].tolist(), None]
            ys += [*points[:, 1].tolist(), None]
            # Only the last point shows a marker; it keeps off the node by its radius.
            sizes += [0.0] * (len(points) - 1) + [arrow, 0.0]
            gaps += [0.0] * (len(points) - 1) + [self.reach_px[callee], 0.0]
        return go.Scatter(
            x=xs, y=ys, mode="lines+markers", hoverinfo="skip", showlegend=False, opacity=opacity,
            line={"color": colour, "width": width, "dash": dash},
            marker={
                "symbol": "arrow", "size": sizes, "angleref": "previous", "standoff": gaps, "color": colour,
                "opacity": 1, "line": {"width": 0},
            },
        )  # fmt: skip

    def _bold_path(self) -> list[go.Scatter]:
        if not self.path:
            return []
        return [
            self._line(self.path, PAPER, 8.0, opacity=1.0),
            self._line(self.path, INK, 4.0, opacity=1.0),
        ]

    def _halos(self) -> list[go.Scatter]:
        marked = [(n, _BEHIND_ORIGIN) for n in self.origins]
        if self.symptom is not None and self.symptom not in self.origins:
            marked.append((self.symptom, _BEHIND_SYMPTOM))
        if not marked:
            return []
        return [
            go.Scatter(
                x=[self.layout.positions[n][0] for n, _ in marked], y=[self.layout.positions[n][1] for n, _ in marked],
                mode="markers", hoverinfo="skip", showlegend=False,
                marker={
                    "size": [2 * self.reach_px[n] - 2 for n, _ in marked], "color": [c for _, c in marked],
                    "line": {"color": INK, "width": 3}, "opacity": 1,
                },
            )
        ]  # fmt: skip

    def _marks(self) -> list[go.Scatter]:
        names = list(self.nodes)
        # Lines end below a node, also below one that is open.
        is_open = [n for n in names if "open" in SHAPES.get(self.nodes[n]["kind"], "")]
        return [
            go.Scatter(
                x=[self.layout.positions[n][0] for n in is_open], y=[self.layout.positions[n][1] for n in is_open],
                mode="markers", showlegend=False, hoverinfo="skip",
                marker={
                    "size": [2 * self.radius_px[n] for n in is_open], "color": PAPER, "opacity": 1,
                    "line": {"width": 0},
                },
            ),
            go.Scatter(
                x=[self.layout.positions[n][0] for n in names], y=[self.layout.positions[n][1] for n in names],
                mode="markers", showlegend=False, text=self._node_texts(names),
                hovertemplate="%{text}<extra></extra>",
                marker={
                    "symbol": [SHAPES.get(self.nodes[n]["kind"], "circle") for n in names],
                    "size": [2 * self.radius_px[n] for n in names],
                    "color": [self._fill(self.nodes[n]) for n in names],
                    "line": {"color": _OUTLINE, "width": 1.2 if len(names) < 300 else 0.6}, "opacity": 1,
                },
            ),
        ]  # fmt: skip

    def _node_texts(self, names: Sequence[str]) -> list[str]:
        return [node_text(self.nodes[n], self.calls.in_degree(n), self.calls.out_degree(n)) for n in names]

    def _names(self) -> list[go.Scatter]:
        """Return the names that fit: the highlighted ones, then by errors and traffic."""
        marked = {*self.origins, *([self.symptom] if self.symptom else []), *(n for ends in self.path for n in ends)}

        def importance(name: str) -> tuple[Any, ...]:
            node = self.nodes[name]
            number = self.scale.number(node["error_ratio"]) if self.scale.measure == "error_ratio" else 0
            return name not in marked, node["kind"] != "entry", number < 3, -node["traffic"], name

        names = sorted(self.nodes, key=importance)
        roles = {self.symptom: "symptom"} | dict.fromkeys(self.origins, "likely origin")
        base = 12 if len(names) <= 40 else 11 if len(names) <= 200 else 10
        fonts = [base + 2 if n in marked else base for n in names]
        short = [visible(shortened(n, 28)) for n in names]
        texts = [f"{roles[n]}\n{text}" if n in roles else text for n, text in zip(names, short, strict=True)]
        points = np.array([self.layout.positions[n] for n in names]).reshape(-1, 2)
        radii = [self.reach_px[n] for n in names]
        sides = fitting(
            (points - [self.ranges[0][0], self.ranges[1][0]]) * self.px_per_unit,
            radii,
            texts,
            fonts,
            _PAGE_WIDTH_PX,
            # Where there is room, all; a thousand services leave none, and names would only hide them.
            int(np.interp(len(names), [200, 600], [200, _MOST_NAMES])),
            self._lane_names(),
        )
        shown = [i for i, side in enumerate(sides) if side is not None or names[i] in marked]
        return [
            go.Scatter(
                x=[points[i][0] for i in shown], y=[points[i][1] for i in shown], mode="markers+text", hoverinfo="skip",
                showlegend=False, marker={"size": [2 * radii[i] for i in shown], "opacity": 0, "line": {"width": 0}},
                text=[label(texts[i], names[i] in marked) for i in shown],
                textposition=[sides[i] or "bottom center" for i in shown],
                # Lines that pass behind a name stay clear of it.
                textfont={
                    "size": [fonts[i] for i in shown], "color": INK, "shadow": f"0 0 2px {PAPER}, 0 0 3px {PAPER}",
                },
            )
        ]  # fmt: skip

    def _lane_names(self) -> np.ndarray:
        """Return where the names of lanes stand, (n, 4), in pixels upwards: left, bottom, right, top."""
        tops = [(lane.high + _LANE_NAME_RISE - self.ranges[1][0]) * self.px_per_unit[1] for lane in self.lanes]
        sizes = [size_px(shortened(lane.name, 40), _LANE_NAME_PX) for lane in self.lanes]
        boxes = [(0.0, top - high, wide, top) for top, (wide, high) in zip(tops, sizes, strict=True)]
        return np.asarray(boxes, dtype=float).reshape(-1, 4)

    def _hover_of_edges(self) -> go.Scatter:
        points = self._edge_points()
        return go.Scatter(
            x=points[:, 0].tolist(), y=points[:, 1].tolist(), mode="markers", showlegend=False,
            marker={"size": 2 * _EDGE_REACH_PX, "opacity": 0}, text=[edge_text(edge) for edge in self.edges.values()],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip

    def _edge_points(self) -> np.ndarray:
        """Return where the pointer finds each call, (n, 2): near its middle, and on no node."""
        centres = np.array(list(self.layout.positions.values())).reshape(-1, 2) * self.px_per_unit
        reach = np.array([self.radius_px[name] for name in self.layout.positions]) + _EDGE_REACH_PX
        curves = [self._curve(*ends) for ends in self.edges]
        points = [curve[clear_point(curve * self.px_per_unit, centres, reach)] for curve in curves]
        return np.asarray(points).reshape(-1, 2)


def _first_known(*values: float) -> float:
    return next((value for value in values if not math.isnan(value)), math.nan)
