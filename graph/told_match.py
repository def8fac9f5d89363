"""Which calls those are that metrics tell of, where what is known already has them under other names.

A service graph, a mesh and span metrics count the calls that spans show, yet name some of them otherwise. The rules are
those of docs/linking.md, "What metrics tell", in their order; each told edge falls under one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from . import histogram
from .calls import UNNAMED
from .node_names import Identity, named_by_host
from .rollup import SCHEMAS, empty, merge
from .sampling_bias import SAMPLED

# The kind of a callee that takes the caller's messages from a broker that its metric does not name.
CONSUMER: Final = "consumer"
# How others name a peer that they do not know, and what `docs/linking.md` calls a client span without one.
_NO_PEER, WITHOUT_PEER = "unknown", "client-without-peer"
_OUTSIDE: Final = "external"
# Kinds of callees among which a peer of each kind may go by another name: an address may be a service that has spans.
_STORES: Final = ("database", "cache")
_ALIKE: Final = {
    **dict.fromkeys(_STORES, _STORES),
    "messaging": ("messaging", CONSUMER),
    "external": ("external", "service", "unknown"),
}

_HISTOGRAMS: Final = [field.name for field in SCHEMAS["edges"] if field.type == histogram.TYPE]
Pair = tuple[str, str]


class _Told(NamedTuple):
    caller: str
    callee: str
    is_message: bool


class _Edge(NamedTuple):
    caller_kind: str
    callee_kind: str
    calls: float


@dataclass(frozen=True)
class Matched:
    """``edges`` are the rows of told edges (`hypocenter.graph.rollup.EDGES`) between the nodes that are known.

    ``rules`` has the rule by which each told pair that is not known by its own name was found, ``covered`` the calls of
    those whose place among the known edges cannot be told: they are no edge, being counted there.
    """

    edges: pa.Table
    rules: Mapping[Pair, str] = field(default_factory=dict)
    covered: Mapping[Pair, int] = field(default_factory=dict)

    def beside(self, known: pa.Table) -> pa.Table:
        """Return the rows of ``known`` edges and those of ``edges`` between nodes of which these tell no call."""
        if not len(self.edges):
            return known
        ends = ["caller", "callee"]
        distinct = known.group_by(ends).aggregate([])
        pairs = set(zip(*(distinct[end].to_pylist() for end in ends), strict=True))
        own = zip(*(self.edges[end].to_pylist() for end in ends), strict=True)
        new = self.edges.filter(pa.array([pair not in pairs for pair in own], pa.bool_()))
        return pa.concat_tables([known, new])


def match(
    known: pa.Table, told: pa.Table, nodes: Mapping[Identity, str], without_peer: Mapping[str, int] | None = None
) -> Matched:
    """Return what ``told`` edges are among ``known`` ones, both `hypocenter.graph.rollup.EDGES`.

    Parameters
    ----------
    nodes
        The node of each identity (`hypocenter.graph.node_names.nodes_of`).
    without_peer
        Client spans that name no peer, and so are no call, by service.
    """
    if not len(told):
        return Matched(told)
    found = _Match(_known(known), _told(told), nodes, without_peer or {})
    names = ("caller", "callee", "callee_kind")
    keys = [_Told(a, b, kind == CONSUMER) for a, b, kind in zip(*(told[n].to_pylist() for n in names), strict=True)]
    targets = [found.targets[key] for key in keys]
    at = np.repeat(np.arange(len(keys)), [len(pairs) for pairs in targets])
    ends = [pair for pairs in targets for pair in pairs]
    edges = told.take(pa.array(at))
    own = zip(edges["caller_kind"].to_pylist(), edges["callee_kind"].to_pylist(), strict=True)
    kinds = [found.known.get(pair, _Edge(*kinds, 0.0)) for pair, kinds in zip(ends, own, strict=True)]
    columns = {
        "caller": [pair[0] for pair in ends],
        "callee": [pair[1] for pair in ends],
        "caller_kind": [kind.caller_kind for kind in kinds],
        "callee_kind": ["service" if kind.callee_kind == CONSUMER else kind.callee_kind for kind in kinds],
    }
    for name, values in columns.items():
        place = edges.schema.get_field_index(name)
        edges = edges.set_column(place, edges.schema.field(place), pa.array(values, pa.string()))
    nothing = empty()
    summed = merge([replace(nothing, edges=edges)]).edges
    covered = {key[:2]: round(found.told[key].calls) for key, to in sorted(found.targets.items()) if not to}
    return Matched(summed, found.rules, covered)


class _Match:
    """``targets`` are the known pairs that told calls count for: none where they are covered, their own where new."""

    def __init__(
        self,
        known: Mapping[Pair, _Edge],
        told: Mapping[_Told, _Edge],
        nodes: Mapping[Identity, str],
        without_peer: Mapping[str, int],
    ) -> None:
        self.known, self.told = known, told
        self.names = {name for pair in known for name in pair} | set(nodes.values())
        self.callees: dict[str, list[str]] = {name: [] for name in self.names}
        for caller, callee in known:
            self.callees[caller].append(callee)
        self.aliases = _aliases(nodes)
        self.targets: dict[_Told, list[Pair]] = {}
        self.rules: dict[Pair, str] = {}
        for key, edge in told.items():
            self._by_name(key, edge)
        for key in self._left():
            if key.callee == _NO_PEER and without_peer.get(key.caller, 0) >= SAMPLED * told[key].calls:
                self._found([key], "no-peer", [])
        self._consumed()
        self._by_number()
        for key in self._left():
            ends = [self._nodes(name) for name in key[:2]]
            only = tuple(end[0] if len(end) == 1 else name for end, name in zip(ends, key[:2], strict=True))
            self.targets[key] = [(only[0], only[1])]

    def _left(self) -> list[_Told]:
        return [key for key in self.told if key not in self.targets]

    def _found(self, keys: list[_Told], rule: str, known: list[Pair], most: int = 1) -> None:
        """Count told calls for the known pairs that a rule found, for none where it is not clear for which."""
        for key in keys:
            self.targets[key] = known if len(keys) == 1 and len(known) <= most else []
            self.rules[key.caller, key.callee] = rule

    def _by_name(self, key: _Told, edge: _Edge) -> None:
        callers, callees = self._nodes(key.caller), self._nodes(key.callee)
        pairs = [(a, b) for a in callers for b in callees if (a, b) in self.known]
        hops = [
            [(a, broker), (broker, b)]
            for a in callers
            for broker in self.callees.get(a, ())
            for b in callees
            if self.known[a, broker].callee_kind == "messaging" and (broker, b) in self.known
        ]
        services = self._of_host(key.callee)
        hosts = [(a, b) for a in callers for b in self.callees.get(a, ()) if b in services]
        if key.is_message and hops:
            self._found([key], "message", [hop for way in hops for hop in way], 2)
        elif (key.caller, key.callee) in pairs:
            self.targets[key] = [(key.caller, key.callee)]
        elif pairs and edge.callee_kind not in _STORES:
            self._found([key], "deployment", pairs)
        elif hosts and edge.callee_kind == "external":
            self._found([key], "host", hosts)

    def _nodes(self, name: str) -> list[str]:
        """Return the nodes that a name without a namespace, an environment or a cluster may mean, else the name."""
        return [name] if name in self.names else sorted(self.aliases.get(name, (name,)))

    def _of_host(self, host: str) -> set[str]:
        """Return the services that a host may be: ``cart.shop.svc:8080`` is cart, that of shop if there is one."""
        name, namespace = named_by_host(host)
        return self.aliases.get(f"{namespace or ''}/{name}") or self.aliases.get(name, {name})

    def _consumed(self) -> None:
        """Find what others take for requests from outside: messages that begin a trace."""
        counted: dict[Pair, float] = defaultdict(float)
        for key, targets in self.targets.items():
            for pair in targets:
                counted[pair] += self.told[key].calls
        for key in self._left():
            if self.told[key].caller_kind == _OUTSIDE:
                callees = self._nodes(key.callee)
                taken = [p for p, edge in self.known.items() if p[1] in callees and edge.caller_kind == "messaging"]
                if sum(self.known[pair].calls - counted[pair] for pair in taken) >= SAMPLED * self.told[key].calls:
                    self._found([key], "consumed", taken)

    def _by_number(self) -> None:
        """Find peers by the calls of one caller to one kind of node, where as many are known."""
        claimed = {target for targets in self.targets.values() for target in targets}
        groups: dict[tuple[str, tuple[str, ...]], list[_Told]] = defaultdict(list)
        for key in self._left():
            if kinds := _ALIKE.get(self.told[key].callee_kind):
                groups[key.caller, kinds].append(key)
        for (caller, kinds), keys in groups.items():
            pairs = [(a, b) for a in self._nodes(caller) for b in self.callees.get(a, ())]
            pairs = [pair for pair in pairs if pair not in claimed and self.known[pair].callee_kind in kinds]
            calls = sum(self.known[pair].calls for pair in pairs)
            if pairs and calls >= SAMPLED * sum(self.told[key].calls for key in keys):
                self._found(keys, "peer", pairs)


def _aliases(nodes: Mapping[Identity, str]) -> dict[str, set[str]]:
    """Return the nodes that each shorter or longer name of a service may mean."""
    found: dict[str, set[str]] = defaultdict(set)
    for one, node in nodes.items():
        places = [f"@{place}" if place else "" for place in (one.environment, one.cluster)]
        for space in {"", f"{one.namespace}/" if one.namespace else ""}:
            for suffix in {"", places[0], places[1], "".join(places)}:
                found[f"{space}{one.name}{suffix}"].add(node)
    return found


def _known(edges: pa.Table) -> dict[Pair, _Edge]:
    """Return the calls between two nodes: those whose client span was recorded, as far as spans tell of them."""
    frame = _frame(edges)
    is_traced = frame["client_count"] + frame["server_count"] > 0
    share = (frame["client_count"] / frame["count"]).where(is_traced & (frame["caller_kind"] == "service"), 1.0)
    frame["calls"] = frame["adjusted_milli"] / 1000 * share
    return {(str(row[0]), str(row[1])): _Edge(*row[2:]) for row in _summed(frame, ["caller", "callee"])}


def _told(edges: pa.Table) -> dict[_Told, _Edge]:
    frame = _frame(edges)
    frame["is_message"] = frame["callee_kind"] == CONSUMER
    frame["calls"] = frame["count"]
    rows = _summed(frame, ["caller", "callee", "is_message"])
    return {_Told(str(row[0]), str(row[1]), bool(row[2])): _Edge(*row[3:]) for row in rows}


def _frame(edges: pa.Table) -> pd.DataFrame:
    return edges.drop_columns(_HISTOGRAMS).to_pandas().fillna({"caller": UNNAMED, "callee": UNNAMED})


def _summed(frame: pd.DataFrame, keys: list[str]) -> Iterator[tuple[Any, ...]]:
    kinds = frame.groupby(keys, as_index=False, sort=True).agg(
        caller_kind=("caller_kind", "min"), callee_kind=("callee_kind", "min"), calls=("calls", "sum")
    )
    yield from kinds.itertuples(index=False, name=None)
