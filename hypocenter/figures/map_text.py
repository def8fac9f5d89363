"""The words on a map: names of telemetry as plain text, and what a reader sees on pointing at a node or an edge."""

from __future__ import annotations

import html
import math
from typing import Any

from .look import plain

Record = dict[str, Any]


def label(text: str, bold: bool) -> str:
    """Return lines of text for plotly."""
    shown = "<br>".join(html.escape(line, quote=False) for line in text.split("\n"))
    return f"<b>{shown}</b>" if bold else shown


def node_text(node: Record, callers: int, callees: int) -> str:
    """Return what is known of a node, a line per topic."""
    where = f" in {plain(node['namespace'], 60)}" if node["namespace"] else ""
    lines = [f"<b>{plain(node['id'], 120)}</b>", f"{node['kind']}{where}"]
    if node["kind"] not in ("entry", "unknown"):
        lines += [f"{number(node['rate_per_s'])} calls/s answered, errors {_percent(node['error_ratio'])}"]
        lines += [f"server p50 {_time(node['server_p50_s'])}, p95 {_time(node['server_p95_s'])}"]
        lines += [f"as its callers see it p50 {_time(node['client_p50_s'])}, p95 {_time(node['client_p95_s'])}"]
    return "<br>".join([*lines, f"called by {callers}, calls {callees}"])


def edge_text(edge: Record) -> str:
    """Return what is known of an edge, a line per topic."""
    lines = [
        f"<b>{plain(edge['source'], 120)} → {plain(edge['target'], 120)}</b>",
        f"{number(edge['rate_per_s'])} calls/s ({_calls(edge)}), errors {_percent(edge['error_ratio'])}",
        f"client p50 {_time(edge['client_p50_s'])}, p95 {_time(edge['client_p95_s'])}",
        f"server p50 {_time(edge['server_p50_s'])}, p95 {_time(edge['server_p95_s'])}",
        f"gap (network and queue) p50 {_time(edge['gap_p50_s'])}",
        *_attempts(edge),
        f"known from {edge['known_from']}{_won(edge)}",
        *(f"<b>{plain(text, 160)}</b>" for text in edge.get("changes", ())),
    ]
    return "<br>".join(lines)


def _calls(edge: Record) -> str:
    return "calls unknown" if math.isnan(edge["adjusted_count"]) else f"{edge['count']:,} calls seen"


def _attempts(edge: Record) -> list[str]:
    """Return how many calls a request makes, where it makes several."""
    per_request = edge["calls_per_request"]
    if math.isnan(per_request) or per_request <= 1:
        return []
    counts = [f"{edge[name]:,} {name}" for name in ("retries", "hedges") if edge[name]]
    return [f"{number(per_request)} calls a request" + (f", among them {' and '.join(counts)}" if counts else "")]


def _won(edge: Record) -> str:
    return ", rate and errors from metrics" if "traces" in edge["known_from"] and edge["rate_from"] == "metrics" else ""


def number(value: float) -> str:
    """Return three significant digits, ``unknown`` for NaN."""
    return "unknown" if math.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percent(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2%}"


def _time(value_s: float) -> str:
    if math.isnan(value_s):
        return "unknown"
    return f"{value_s:.3g} s" if abs(value_s) >= 1 else f"{value_s * 1e3:.3g} ms"
