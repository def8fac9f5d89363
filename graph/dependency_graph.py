"""The dependency graph of a window: who calls whom, how often, with which errors and durations."""

from __future__ import annotations

import html
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import GraphError

from ..tracer.window import HOUR_NS, MINUTE_NS, SECOND_NS, Window
from .calls import Calls
from .coverage import Coverage
from .node_names import nodes_of
from .rollup import STEP_NS, Rollups, empty, to_steps, within
from .rollup import merge as merge_rollups

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import networkx as nx
    import plotly.graph_objects as go

    from ..tracer.store import Store
    from .diff import GraphDiff
    from .told_match import Matched


@dataclass(frozen=True)
class DependencyGraph:
    """An immutable snapshot of the calls in a window.

    An edge is caller -> callee, and its kind is that of the callee (``entry`` where the caller is outside). ``count``
    is what was seen, ``adjusted_count`` undoes sampling, ``rate_per_s`` is the adjusted count over the window.
    ``errors`` are seen calls in which either side failed, ``error_ratio`` their share; ``client_count`` and
    ``server_count`` say of how many calls that side was recorded. Missing means unknown, never zero: an edge whose
    client side was not recorded has neither client errors nor a client duration. Durations are seconds; the gap is
    client less server duration, the queue the time in a broker. ``http_4xx`` and ``http_5xx`` are failed calls that
    HTTP answered so, ``timeouts`` calls whose client gave up waiting. ``calls_per_request`` is how many calls a request
    of the caller makes that makes any, ``retries`` and ``hedges`` those that ask once more (docs/linking.md, Attempts);
    ``critical_share`` is the share of the time of all requests during which they waited for the edge's calls.

    ``told`` is what metrics tell of calls. They give the edges that spans lack, and where spans are a sample that does
    not say so (`hypocenter.graph.sampling_bias.is_unmarked_sample`) also ``adjusted_count``, ``rate_per_s`` and
    ``error_ratio``; ``rate_from``, ``errors_from`` and ``durations_from`` name the source of each.

    ``is_matched`` says that ``told`` names nodes as the spans do; else `matched` finds which of theirs it means.

    Rows of ``rollups`` are of steps of ``step_ns``, 10 s or coarser. Of traces one in ``sample`` was linked.

    A graph without ``windows`` came from a file that tells no times: rates, errors and durations are unknown.
    """

    rollups: Rollups
    windows: tuple[Window, ...]
    told: Rollups = field(default_factory=empty)
    step_ns: int = STEP_NS
    sample: int = 1
    is_matched: bool = False

    @classmethod
    def of(cls, rollups: Rollups, window: Window) -> DependencyGraph:
        """Return the graph of the steps of ``rollups`` that start in ``window``."""
        return cls(within(rollups, window), (window,))

    @classmethod
    def read(
        cls,
        store: Store,
        window: Window | None = None,
        *,
        by: str = "service",
        coarse: bool = False,
        durations_of: Collection[str] = ("edges", "operations", "instances"),
    ) -> DependencyGraph:
        """Return the graph of a store in a window, widened to whole steps of 10 s; None is all that the store holds.

        Edges come from spans and, where these have none, from the metrics of service graphs and meshes. ``by`` makes
        nodes of ``pod``s or of ``operation``s, or tells services apart by ``version``, ``environment`` or ``cluster``
        (`hypocenter.graph.replicas.read_finer`); metrics are left out then. ``coarse`` reads whole hours as one step
        each, and durations of other tables than ``durations_of`` are unknown: long windows take a fraction of the time
        (`hypocenter.graph.cache.rollups`).

        Raises
        ------
        GraphError
            If the store holds neither spans nor metrics, or services are told apart by something else.
        """
        from . import from_metrics
        from .cache import rollups
        from .replicas import read_finer

        store = store.snapshot()
        window = window or store.bounds("spans") or store.bounds("points")
        if window is None:
            raise GraphError(f"{store} holds no spans; add some with: hypocenter ingest PATH --store {store}")
        whole = Window(window.start_ns // STEP_NS * STEP_NS, -(-window.end_ns // STEP_NS) * STEP_NS)
        if by != "service":
            return cls.of(read_finer(store, whole, by), whole)
        found = rollups(store, whole, coarse=coarse, durations_of=durations_of)
        step_ns = HOUR_NS if coarse else STEP_NS
        return cls(found, (whole,), from_metrics.read(store, whole), step_ns, store.sample)

    @classmethod
    def from_file(cls, path: Path | str) -> DependencyGraph:
        """Return the graph of a file that holds one (docs/formats.md, dependency-graph), such as Jaeger's dependencies.

        Raises
        ------
        DecodeError
            If the file is none of these forms.
        SourceError
            If it cannot be read.
        """
        from .from_file import read

        return cls(read(path), ())

    def with_metrics(self, told: Rollups) -> DependencyGraph:
        """Return the graph that also knows what metrics tell (`hypocenter.graph.from_metrics`)."""
        return replace(self, told=merge_rollups([self.told, told]))

    def within(self, window: Window) -> DependencyGraph:
        """Return the graph of the steps that start in ``window``."""
        return replace(self, rollups=within(self.rollups, window), windows=(window,), told=within(self.told, window))

    @property
    def window(self) -> Window:
        """From the first to the last moment that the graph speaks of; GraphError if it tells no times."""
        if not self.windows:
            raise GraphError("this graph came from a file without times, and has no window")
        return Window(self.windows[0].start_ns, self.windows[-1].end_ns)

    @property
    def duration_s(self) -> float:
        """Observed seconds: the length of the window, gaps between merged windows left out."""
        return sum(window.duration_ns for window in self.windows) / SECOND_NS

    @property
    def steps(self) -> float:
        """Observed steps of the rollups, at least one."""
        return max(1.0, self.duration_s * SECOND_NS / self.step_ns)

    def merge(self, other: DependencyGraph) -> DependencyGraph:
        """Return the graph of both; associative and commutative. The two must not hold the same spans."""
        if bool(self.windows) != bool(other.windows):
            raise GraphError("a graph of a window cannot be merged with one from a file, which tells no times")
        step_ns = max(self.step_ns, other.step_ns)
        both = (
            graph.rollups if graph.step_ns == step_ns else to_steps(graph.rollups, step_ns) for graph in (self, other)
        )
        # Of two graphs one of which is matched, the other is matched first: names are then those of its own spans.
        is_matched = self.is_matched or other.is_matched
        told = (graph.with_matched().told if is_matched else graph.told for graph in (self, other))
        sample = max(self.sample, other.sample)
        windows = _union(self.windows + other.windows)
        return DependencyGraph(merge_rollups(both), windows, merge_rollups(told), step_ns, sample, is_matched)

    @cached_property
    def critical_s(self) -> float:
        """The time of all requests that spans tell, of which critical paths have shares; seconds."""
        return float(pc.sum(self.rollups.operations["critical_ns"]).as_py() or 0) / SECOND_NS

    @cached_property
    def known(self) -> pa.Table:
        """The rows of the edge rollup: those of spans, and those of metrics for calls that spans lack."""
        return self.matched.beside(self.rollups.edges)

    @cached_property
    def matched(self) -> Matched:
        """What metrics tell, between the nodes of spans (docs/linking.md, "What metrics tell")."""
        from .told_match import WITHOUT_PEER, Matched, match

        if self.is_matched or not len(self.told.edges):
            return Matched(self.told.edges)
        lost = self.rollups.unlinked.filter(pc.equal(self.rollups.unlinked["reason"], WITHOUT_PEER))
        sums = lost.group_by("service").aggregate([("count", "sum")]).to_pydict()
        without_peer = dict(zip(sums["service"], sums["count_sum"], strict=True))
        return match(self.rollups.edges, self.told.edges, nodes_of(self.rollups), without_peer)

    def with_matched(self) -> DependencyGraph:
        """Return the graph whose ``told`` speaks of the nodes of spans, so that any part of it is matched alike."""
        return replace(self, told=replace(self.told, edges=self.matched.edges), is_matched=True)

    @cached_property
    def calls(self) -> Calls:
        """The rows of the edge rollup by caller and callee."""
        return Calls.of(self.known)

    @cached_property
    def edges(self) -> pd.DataFrame:
        """A row per caller -> callee, the busiest first (`hypocenter.graph.edges.EDGE_COLUMNS`)."""
        from .edges import edges

        return edges(self)

    def over_time(self, step_ns: int = MINUTE_NS) -> pd.DataFrame:
        """Return the edges step by step (see `hypocenter.graph.edges.over_time`)."""
        from .edges import over_time

        return over_time(self, step_ns)

    @cached_property
    def nodes(self) -> pd.DataFrame:
        """A row per node in order of name (see `hypocenter.graph.nodes.nodes`)."""
        from .nodes import nodes

        return nodes(self)

    @cached_property
    def operations(self) -> pd.DataFrame:
        """A row per operation and kind of its spans (see `hypocenter.graph.operations.operations`)."""
        from .operations import operations

        return operations(self)

    @cached_property
    def instances(self) -> pd.DataFrame:
        """A row per replica and version that spans tell (see `hypocenter.graph.replicas.instances`)."""
        from .replicas import instances

        return instances(self)

    @cached_property
    def versions(self) -> pd.DataFrame:
        """A row per service and version, in order of appearance (see `hypocenter.graph.replicas.versions`)."""
        from .replicas import versions

        return versions(self)

    def by_namespace(self) -> DependencyGraph:
        """Return the graph of namespaces (see `hypocenter.graph.regroup.by_namespace`)."""
        from .regroup import by_namespace

        return by_namespace(self)

    def grouped(self, groups: Mapping[str, str]) -> DependencyGraph:
        """Return the graph with each node named as its group (see `hypocenter.graph.regroup.grouped`)."""
        from .regroup import grouped

        return grouped(self, groups)

    def without_sidecars(self) -> DependencyGraph:
        """Return the graph with sidecars taken into their services (see `hypocenter.graph.regroup`)."""
        from .regroup import without_sidecars

        return without_sidecars(self)

    @cached_property
    def coverage(self) -> Coverage:
        """How many spans came in, how many are in calls, and the rest by reason and service."""
        # The sides of calls and the spans without one are all spans there are.
        edges = self.rollups.edges
        sides = [edges.select(["caller", "client_count"]), edges.select(["callee", "server_count"])]
        linked = pa.concat_tables([side.rename_columns(["service", "count"]) for side in sides])
        return Coverage.of(linked, self.rollups.unlinked)

    def to_frame(self) -> pd.DataFrame:
        """Return the edges (`hypocenter.graph.edges.EDGE_COLUMNS`), the busiest first."""
        return self.edges.copy()

    def nodes_frame(self) -> pd.DataFrame:
        """Return the nodes (`hypocenter.graph.nodes.NODE_COLUMNS`)."""
        return self.nodes.copy()

    def to_networkx(self) -> nx.DiGraph[str]:
        """Return a directed graph whose nodes and edges carry the columns of `nodes` and `edges` that are known."""
        from .export import to_networkx

        return to_networkx(self)

    def to_json(self) -> dict[str, Any]:
        """Return ``{"window": {"start", "end"}, "nodes": [...], "edges": [...], "coverage": {...}}``."""
        from .export import to_json

        return to_json(self)

    def to_graphml(self) -> str:
        """Return GraphML text."""
        from .export import to_graphml

        return to_graphml(self)

    def to_dot(self) -> str:
        """Return the graph in Graphviz' language."""
        from .export import to_dot

        return to_dot(self)

    def to_mermaid(self) -> str:
        """Return a Mermaid flowchart."""
        from .export import to_mermaid

        return to_mermaid(self)

    def to_grafana(self) -> list[dict[str, Any]]:
        """Return the data frames of Grafana's node graph panel (see `hypocenter.graph.grafana.to_grafana`)."""
        from .grafana import to_grafana

        return to_grafana(self)

    def figure(self, **options: Any) -> go.Figure:
        """Return the service map as a plotly figure; the options are those of `hypocenter.figures.service_map`."""
        from hypocenter.figures import service_map

        # Type checkers see the folder at the root and the package as two.
        graph: Any = self
        return service_map(graph, **options)

    def diff(self, other: DependencyGraph) -> GraphDiff:
        """Return what changed from this graph to ``other``."""
        from .diff import diff

        return diff(self, other)

    def upstream(self, node: str) -> pd.DataFrame:
        """Return who depends on ``node`` (see `hypocenter.graph.reach.upstream`)."""
        from .reach import upstream

        return upstream(self, node)

    def downstream(self, node: str) -> pd.DataFrame:
        """Return what ``node`` depends on (see `hypocenter.graph.reach.downstream`)."""
        from .reach import downstream

        return downstream(self, node)

    def entry_points_affected(self, node: str) -> pd.DataFrame:
        """Return the entry points whose requests may reach ``node`` (see `hypocenter.graph.reach`)."""
        from .reach import entry_points_affected

        return entry_points_affected(self, node)

    def cut_services(self) -> pd.DataFrame:
        """Return the nodes without which others can no longer be reached (see `hypocenter.graph.reach`)."""
        from .reach import cut_services

        return cut_services(self)

    def criticality(self) -> pd.DataFrame:
        """Return how much hangs on each node (see `hypocenter.graph.reach.criticality`)."""
        from .reach import criticality

        return criticality(self)

    def __repr__(self) -> str:
        size = f"{len(self.nodes)} nodes, {len(self.edges)} edges, {int(self.edges['count'].sum()):,} calls"
        when = self.window if self.windows else "without times"
        of = "" if self.sample == 1 else f" of one trace in {self.sample}"
        return f"<DependencyGraph {when}{of}: {size}; {self.coverage}>"

    def _repr_html_(self) -> str:
        shown = self.edges.head(20)
        table = shown.to_html(index=False, escape=True, na_rep="", float_format=lambda v: f"{v:.4g}", border=0)
        more = f"<p>and {len(self.edges) - len(shown)} more edges</p>" if len(self.edges) > len(shown) else ""
        return f"<p>{html.escape(repr(self).strip('<>'))}</p>{table}{more}"


def _union(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """Return disjoint windows in order that cover the same moments."""
    joined: list[Window] = []
    for window in sorted(windows):
        if joined and window.start_ns <= joined[-1].end_ns:
            joined[-1] = Window(joined[-1].start_ns, max(joined[-1].end_ns, window.end_ns))
        else:
            joined.append(window)
    return tuple(joined)
