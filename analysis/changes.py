"""What was changed in the cluster, ordered by closeness to the onset and to the symptom in the graph."""

from __future__ import annotations

import math

from ..graph.dependency_graph import DependencyGraph
from ..graph.kubernetes import History
from ..graph.kubernetes_changes import Change, changes_of
from ..graph.kubernetes_services import ServiceJoin, Speakers
from ..tracer.batch import Batch
from ..tracer.store import Store
from ..tracer.window import SECOND_NS, Window

# A minute after the onset counts like ten before it, and a call further away like five.
_AFTER_IS_WORSE = 10.0
_HOP_S = 300.0
_UNRELATED_HOPS = 12


def changes(
    store: Store, window: Window, onset_ns: int | None = None, symptom: str | None = None
) -> list[tuple[Change, tuple[str, ...]]]:
    """Return the changes of a window with the services that each bears on.

    With ``onset_ns`` or ``symptom`` the closest comes first: seconds before the onset, and calls between the symptom
    and the services concerned; else they come in order of time.
    """
    history = History.read(store, window)
    found = changes_of(history)
    if not found:
        return []
    telemetry = Batch({signal: store.read(signal, window) for signal in ("spans", "series", "logs")})
    join = ServiceJoin(history.whole, Speakers.of(telemetry))
    told = [(change, tuple(join.services(change.found))) for change in found]
    if onset_ns is None and symptom is None:
        return told
    hops = _hops(store, window, symptom) if symptom else {}

    def distance(item: tuple[Change, tuple[str, ...]]) -> tuple[float, int, str]:
        change, services = item
        seconds = 0.0
        if onset_ns is not None:
            lead = (onset_ns - change.time_ns) / SECOND_NS
            seconds = lead if lead >= 0 else -lead * _AFTER_IS_WORSE
        away = min((hops.get(s, math.inf) for s in services), default=math.inf) if symptom else 0.0
        return seconds + _HOP_S * min(away, _UNRELATED_HOPS), change.time_ns, change.found.key

    return sorted(told, key=distance)


def _hops(store: Store, window: Window, symptom: str) -> dict[str, int]:
    """Return how many calls lie from the symptom to each service that it depends on."""
    import networkx as nx

    if store.bounds("spans") is None and store.bounds("points") is None:
        return {symptom: 0}
    graph = DependencyGraph.read(store, window).to_networkx()
    if symptom not in graph:
        return {symptom: 0}
    return {str(node): int(hops) for node, hops in nx.single_source_shortest_path_length(graph, symptom).items()}
