"""A dependency graph as the two data frames of Grafana's node graph panel, in Grafana's JSON of data frames."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from .export import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .dependency_graph import DependencyGraph

Record = dict[str, Any]
_HEALTHY, _FAILING, _UNKNOWN = "green", "red", "gray"
_LINE, _MOST_THICK = "#999", 4.0


def to_grafana(graph: DependencyGraph) -> list[dict[str, Any]]:
    """Return the frames ``nodes`` and ``edges``, each ``{"schema": {"name", "meta", "fields"}, "data": {"values"}}``.

    A node shows the calls that it answers a second and their 95th percentile, its circle the shares of calls that
    succeeded, failed, or whose outcome is unknown, which add up to 1. The busiest edges are the thickest, and red are
    those with errors. Durations are in milliseconds, null is unknown.

    References
    ----------
    Grafana documentation, "Node graph", section "Data API".
    """
    edges = records(graph.edges)
    busiest = max((_calls(edge) for edge in edges), default=0.0)
    return [
        _frame("nodes", records(graph.nodes), _NODE_FIELDS),
        _frame("edges", [edge | {"thickness": _thickness(_calls(edge), busiest)} for edge in edges], _EDGE_FIELDS),
    ]


def _frame(name: str, rows: Sequence[Record], fields: Sequence[_Field]) -> dict[str, Any]:
    return {
        "schema": {
            "name": name,
            "meta": {"preferredVisualisationType": "nodeGraph"},
            "fields": [schema for schema, _ in fields],
        },
        "data": {"values": [[value(row) for row in rows] for _, value in fields]},
    }


def _text(name: str, value: Callable[[Record], str | None], shown: str | None = None) -> _Field:
    config = {} if shown is None else {"displayName": shown}
    # Grafana's pages read ``type``, its servers ``typeInfo``.
    kind = {"type": "string", "typeInfo": {"frame": "string", "nullable": True}}
    return {"name": name, **kind, "config": config}, value


def _number(
    name: str, value: Callable[[Record], float | None], shown: str, unit: str = "", colour: str | None = None
) -> _Field:
    config: dict[str, Any] = {"displayName": shown} | ({"unit": unit} if unit else {})
    if colour is not None:
        config["color"] = {"mode": "fixed", "fixedColor": colour}
    kind = {"type": "number", "typeInfo": {"frame": "float64", "nullable": True}}
    return {"name": name, **kind, "config": config}, value


def _milliseconds(*columns: str) -> Callable[[Record], float | None]:
    """Return the first of some durations that is known."""
    return lambda row: next((round(row[name] * 1e3, 3) for name in columns if row[name] is not None), None)


def _calls(edge: Record) -> float:
    return float(edge["adjusted_count"] or 0.0)


def _thickness(calls: float, busiest: float) -> float:
    """Return 4 for the busiest edge, one less for each tenth part of its calls, at least 1."""
    share = calls / busiest if busiest else 0.0
    return round(max(1.0, _MOST_THICK + math.log10(share)), 2) if share else 1.0


def _share(of: Callable[[float | None], float]) -> Callable[[Record], float]:
    return lambda node: of(node["error_ratio"])


_Field = tuple[dict[str, Any], "Callable[[Record], Any]"]
_CALLS_A_SECOND = ("Calls a second", "calls/s")
_COMMON: tuple[_Field, ...] = (
    _number("detail__calls", lambda row: row["count"], "Calls seen"),
    _number("detail__errors", lambda row: row["errors"], "Failed calls seen"),
    _number("detail__error_ratio", lambda row: row["error_ratio"], "Share of errors", "percentunit"),
)
_NODE_FIELDS: tuple[_Field, ...] = (
    _text("id", lambda node: node["id"]),
    _text("title", lambda node: node["id"]),
    _text("subtitle", lambda node: node["namespace"] or node["kind"]),
    _number("mainstat", lambda node: node["rate_per_s"], *_CALLS_A_SECOND),
    _number("secondarystat", _milliseconds("server_p95_s", "client_p95_s"), "95th percentile", "ms"),
    _number("arc__success", _share(lambda ratio: 0.0 if ratio is None else 1 - ratio), "Succeeded", colour=_HEALTHY),
    _number("arc__errors", _share(lambda ratio: ratio or 0.0), "Failed", colour=_FAILING),
    _number("arc__unknown", _share(lambda ratio: float(ratio is None)), "Unknown", colour=_UNKNOWN),
    _text("detail__kind", lambda node: node["kind"], "Kind"),
    _text("detail__namespace", lambda node: node["namespace"], "Namespace"),
    *_COMMON,
    _number("detail__p50", _milliseconds("server_p50_s", "client_p50_s"), "Median", "ms"),
)
_EDGE_FIELDS: tuple[_Field, ...] = (
    _text("id", lambda edge: json.dumps([edge["source"], edge["target"]])),
    _text("source", lambda edge: edge["source"]),
    _text("target", lambda edge: edge["target"]),
    _number("mainstat", lambda edge: edge["rate_per_s"], *_CALLS_A_SECOND),
    _number("secondarystat", _milliseconds("client_p95_s", "server_p95_s"), "95th percentile", "ms"),
    _number("thickness", lambda edge: edge["thickness"], "Thickness"),
    _text("color", lambda edge: _FAILING if edge["error_ratio"] else _LINE),
    _text("detail__kind", lambda edge: edge["kind"], "Kind"),
    *_COMMON,
    _number("detail__p50", _milliseconds("client_p50_s", "server_p50_s"), "Median", "ms"),
    _number("detail__queue_p50", _milliseconds("queue_p50_s"), "Median time in the queue", "ms"),
)
