"""A Case: all that a ranker may know of an incident, and nothing of its label."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from ..tracer.batch import Batch, unique_series
from .metrics import Metrics, to_metrics
from .queues import of_consumers
from .request_metrics import in_requests

if TYPE_CHECKING:
    import networkx as nx

    from ..graph.link import Links

MINUTE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Symptom:
    """Where it hurts, when known: an entity in the data's own name, and the signal (latency, availability, ...)."""

    entity: str | None = None
    signal: str | None = None


@dataclass(frozen=True)
class Case:
    """An incident as a ranker sees it.

    ``telemetry`` covers the time around ``alert_ns`` (what precedes the onset serves as a baseline), ``baseline`` is a
    quiet recording of the same system, perhaps of another day and perhaps empty; ``topology`` is a given caller ->
    callee graph, None when unknown. The alert time may be wrong by minutes in either direction. ``not_read`` says what
    was left out of the telemetry to bound memory; ``noticed`` is what ``alert_ns`` is the time of.

    Services are named as the nodes of the graph, in all of the telemetry: deployments of one name that several
    environments have, say, are told apart (`hypocenter.graph.named_telemetry.named_as_nodes`).
    """

    telemetry: Batch
    alert_ns: int
    baseline: Batch = field(default_factory=Batch)
    symptom: Symptom = field(default_factory=Symptom)
    topology: nx.DiGraph[str] | None = None
    not_read: tuple[str, ...] = ()
    noticed: str = "the alert"

    def __post_init__(self) -> None:
        from ..graph.named_telemetry import named_as_nodes

        telemetry, baseline = named_as_nodes([self.telemetry, self.baseline])
        object.__setattr__(self, "telemetry", telemetry)
        object.__setattr__(self, "baseline", baseline)

    @cached_property
    def links(self) -> Links:
        """Calls and unlinked spans of the incident's telemetry."""
        return _linked(self.telemetry.table("spans"))

    @cached_property
    def baseline_links(self) -> Links:
        """Calls and unlinked spans of the baseline."""
        return _linked(self.baseline.table("spans"))

    @cached_property
    def metrics(self) -> Metrics:
        """All scalar metrics, baseline and incident on one clock."""
        (quiet_series, quiet_points), (series, points) = self.baseline_measured, self.measured
        return to_metrics(unique_series([quiet_series, series]), pa.concat_tables([quiet_points, points]))

    @cached_property
    def measured(self) -> tuple[pa.Table, pa.Table]:
        """The incident's series and points; counters of requests as rate, errors and latency of services and edges."""
        series, points = in_requests(self.telemetry.table("series"), self.telemetry.table("points"))
        return of_consumers(series, self.links.calls), points

    @cached_property
    def baseline_measured(self) -> tuple[pa.Table, pa.Table]:
        """The baseline's series and points, likewise."""
        series, points = in_requests(self.baseline.table("series"), self.baseline.table("points"))
        return of_consumers(series, self.links.calls), points

    @cached_property
    def call_graph(self) -> nx.DiGraph[str]:
        """Service names, caller -> callee: the given topology, else what the calls and edge metrics show."""
        import networkx as nx

        if self.topology is not None:
            return self.topology
        graph: nx.DiGraph[str] = nx.DiGraph()
        for links in (self.links, self.baseline_links):
            pairs = links.calls.group_by(["caller", "callee"]).aggregate([([], "count_all")])
            for caller, callee in sorted(
                (c, d) for c, d in zip(pairs["caller"].to_pylist(), pairs["callee"].to_pylist(), strict=True) if c and d
            ):
                graph.add_edge(caller, callee)
        for series, _ in (self.measured, self.baseline_measured):
            edges = series.select(["service", "peer"]).to_pandas().dropna()
            graph.add_edges_from(sorted(set(zip(edges.service, edges.peer, strict=True))))
        return graph


def _linked(spans: pa.Table) -> Links:
    from ..graph.link import link

    return link(spans) if spans.num_rows else _no_links()


@cache
def _no_links() -> Links:
    """Return the links of no spans, which every case of metrics alone asks for twice."""
    from ..graph.link import link
    from ..tracer.schema import SPANS

    return link(SPANS.empty_table())
