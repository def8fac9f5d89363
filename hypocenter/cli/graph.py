"""``hypocenter graph``: who calls whom in a window, as a table, for a machine, or as a map."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .places import HELP

if TYPE_CHECKING:
    import pandas as pd

    from ..graph.dependency_graph import DependencyGraph
    from ..tracer.store import Store
    from ..tracer.window import Window

_NODES = ("service", "namespace", "pod", "operation", "version", "environment", "cluster")
_TOWARDS = ("both", "callers", "callees")
_FORMATS = ("text", "json", "graphml", "dot", "mermaid", "openmetrics")


def graph(
    store: Annotated[str | None, typer.Option(help=HELP)] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="A file that holds a graph (Jaeger's dependencies) in place of a store."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Start: RFC 3339, epoch, or relative to now (-1h). By default the first span.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End, likewise. By default the last span.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help=", ".join(_FORMATS))] = "text",
    page: Annotated[Path | None, typer.Option("--html", help="Write the service map to this file.")] = None,
    focus: Annotated[str | None, typer.Option(help="Draw only what lies around this node.")] = None,
    hops: Annotated[int, typer.Option(min=0, help="How many calls around the focus.")] = 1,
    towards: Annotated[str, typer.Option(help="Around the focus: callers, callees or both.")] = "both",
    least_share: Annotated[
        float, typer.Option(min=0, max=1, help="Draw no calls below this share of the busiest edge's.")
    ] = 0.0,
    colour: Annotated[str, typer.Option(help="What the map's colour shows: errors or latency.")] = "errors",
    by: Annotated[str, typer.Option(help=f"What the nodes are: {', '.join(_NODES)}.")] = "service",
    sidecars: Annotated[bool, typer.Option(help="Show sidecars, or take them into the services they serve.")] = True,
    operations: Annotated[
        bool, typer.Option("--operations", help="Print what requests spend their time on, by operation.")
    ] = False,
    instances: Annotated[bool, typer.Option("--instances", help="Print the replicas in place of the edges.")] = False,
    impact: Annotated[
        str | None, typer.Option(help="Print what depends on this node, and how critical all are.")
    ] = None,
    ways: Annotated[str | None, typer.Option(help="Print by which ways requests reach this node, how often.")] = None,
) -> None:
    """Print the dependency graph of a window: calls, rate, errors and durations of each edge, and the coverage."""
    from ..graph.dependency_graph import DependencyGraph
    from ..tracer.store.remote import store_at
    from .graph_views import show, tables_of

    if output not in _FORMATS:
        raise typer.BadParameter(f"expected {', '.join(_FORMATS)}, not {output!r}", param_hint="-o")
    if colour not in ("errors", "latency"):
        raise typer.BadParameter(f"expected errors or latency, not {colour!r}", param_hint="--colour")
    if towards not in _TOWARDS:
        raise typer.BadParameter(f"expected {', '.join(_TOWARDS)}, not {towards!r}", param_hint="--towards")
    if by not in _NODES:
        raise typer.BadParameter(f"expected {', '.join(_NODES)}, not {by!r}", param_hint="--by")
    if from_file is not None and store is None:
        found = DependencyGraph.from_file(from_file)
    elif store is None or from_file is not None:
        raise typer.BadParameter("give --store, or --from with a file that holds a graph", param_hint="--store")
    else:
        opened = store_at(store)
        nodes = "service" if by == "namespace" else by
        # Metrics are written step by step, all else sums the window.
        coarse = output != "openmetrics"
        shown = ["edges", *(["operations"] if operations else []), *(["instances"] if instances else [])]
        found = DependencyGraph.read(
            opened, window_of(opened, since, until), by=nodes, coarse=coarse, durations_of=shown
        )
        if since is None and until is None:
            typer.echo(f"all that the store holds: {found.window}", err=True)
        say_if_empty(opened, found)
    found = found if sidecars else found.without_sidecars()
    found = found.by_namespace() if by == "namespace" else found
    if page is not None:
        write_page(found, page, colour=colour, focus=focus, hops=hops, towards=towards, least_share=least_share)
    tables = tables_of(found, operations=operations, instances=instances, impact=impact)
    if ways is not None:
        from ..graph.ways import ways as ways_to

        if store is None:
            raise typer.BadParameter("ways are followed through the spans of a --store", param_hint="--ways")
        tables["ways"] = ways_to(store_at(store), found.window, ways)
    if tables and output not in ("text", "json"):
        raise typer.BadParameter(f"tables are written as text or json, not {output}", param_hint="-o")
    typer.echo(show(tables, output) if tables else _render(found, output), nl=False)


def window_of(
    store: Store, since: str | None, until: str | None, *, flags: str = "--since/--until", signal: str | None = None
) -> Window | None:
    """Return the window that two texts name, what is absent taken from the store; None when both are.

    ``signal`` is the one whose rows count; by default spans, else metrics, else anything.
    """
    from ..tracer.window import Window, parse_time

    if since is None and until is None:
        return None
    try:
        start_ns, end_ns = (None if text is None else parse_time(text) for text in (since, until))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=flags) from error
    held = store.bounds(signal) if signal else store.bounds("spans") or store.bounds("points") or store.bounds()
    if held is not None:
        start_ns = min(held.start_ns, end_ns - 1) if start_ns is None and end_ns is not None else start_ns
        end_ns = max(held.end_ns, start_ns + 1) if end_ns is None and start_ns is not None else end_ns
    if start_ns is None or end_ns is None:
        return None
    if start_ns >= end_ns:
        raise typer.BadParameter(f"{since} is not before {until}", param_hint=flags)
    return Window(start_ns, end_ns)


def say_if_empty(store: Store, graph: DependencyGraph) -> None:
    """Say where the data is when a window has none."""
    if not graph.coverage.spans and graph.edges.empty:
        held = store.bounds("spans")
        where = f"spans in {held}" if held else "no spans, and no metrics that describe calls"
        typer.echo(f"no calls in {graph.window}; the store holds {where}", err=True)


def write_page(graph: DependencyGraph, path: Path, **options: Any) -> None:
    """Write the service map as one self-contained page."""
    page = graph.figure(**options).to_html(include_plotlyjs=True, full_html=True, config={"displaylogo": False})
    path.write_text(page, encoding="utf-8")
    typer.echo(f"service map: {path}", err=True)


def _render(graph: DependencyGraph, output: str) -> str:
    if output == "json":
        return json.dumps(graph.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if output == "text":
        return _table(graph)
    if output == "openmetrics":
        from ..graph.metrics_text import to_openmetrics

        return to_openmetrics(replace(graph.rollups, edges=graph.known), graph.window)
    return {"graphml": graph.to_graphml, "dot": graph.to_dot, "mermaid": graph.to_mermaid}[output]()


def _table(graph: DependencyGraph) -> str:
    edges = graph.edges
    columns = [
        ("caller", [printable(name) for name in edges["source"]]),
        ("callee", [printable(name) for name in edges["target"]]),
        ("kind", list(edges["kind"])),
        (
            "calls",
            [
                "-" if math.isnan(of) else f"{n:,}"
                for n, of in zip(edges["count"], edges["adjusted_count"], strict=True)
            ],
        ),
        ("calls/s", ["-" if math.isnan(rate) else f"{rate:.3g}" for rate in edges["rate_per_s"]]),
        ("errors", ["-" if math.isnan(r) else f"{r:.2%}" if r else "0" for r in edges["error_ratio"]]),
        *_attempts(edges),
        *((f"{side} {q}", [milliseconds(v) for v in edges[f"{side}_{q}_s"]]) for side, q in _SHOWN_DURATIONS),
    ]
    rows = list(zip(*(values for _, values in columns), strict=True))
    lines = aligned([[name for name, _ in columns], *rows], left=3) if rows else []
    return "\n".join([*lines, *([""] if lines else []), f"coverage: {graph.coverage}", ""])


def _attempts(edges: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Return the columns of how often a request calls, and calls again, where some request does."""
    per_request = edges["calls_per_request"]
    found = [("per request", ["-" if math.isnan(n) else f"{n:.3g}" for n in per_request])]
    again = edges["retries"].fillna(0) + edges["hedges"].fillna(0)
    if again.any():
        found.append(("again", [f"{n:,}" if n else "-" for n in again]))
    return found if (per_request > 1).any() else []


_LONGEST_NAME = 200
_SHOWN_DURATIONS = (("client", "p50"), ("client", "p95"), ("server", "p50"), ("server", "p95"), ("gap", "p50"))


def aligned(rows: list[Any], *, left: int) -> list[str]:
    """Return the rows as lines of even columns, the first ``left`` of them flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def milliseconds(value_s: float) -> str:
    """Return ``12.3 ms``; ``-`` for an unknown value."""
    if math.isnan(value_s):
        return "-"
    return f"{value_s * 1e3:.3g} ms" if abs(value_s) < 1 else f"{value_s:.3g} s"


def printable(name: str) -> str:
    """Return a name without characters that steer a terminal, cut where one name would widen the lines of all."""
    short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    return "".join(c if c.isprintable() else "\ufffd" for c in short)
