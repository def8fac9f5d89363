"""``hypocenter graph``: who calls whom in a window, as a table, for a machine, or as a map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .places import HELP, write_figure
from .windows import Since, Until, say_if_empty, window_of

if TYPE_CHECKING:
    from ..graph.dependency_graph import DependencyGraph
    from ..tracer.store import Store
    from ..tracer.window import Window


def graph(
    store: Annotated[str | None, typer.Option(help=HELP)] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="A file that holds a graph (Jaeger's dependencies) in place of a store."),
    ] = None,
    since: Since = None,
    until: Until = None,
    output: Annotated[
        Literal["text", "json", "graphml", "dot", "mermaid", "grafana", "openmetrics"],
        typer.Option("--output", "-o", help="For people, programs or other tools."),
    ] = "text",
    page: Annotated[Path | None, typer.Option("--html", help="Write the service map to this file.")] = None,
    focus: Annotated[str | None, typer.Option(help="Draw only what lies around this node.")] = None,
    hops: Annotated[int, typer.Option(min=0, help="How many calls around the focus.")] = 1,
    towards: Annotated[
        Literal["both", "callers", "callees"], typer.Option(help="Which side of the focus is drawn.")
    ] = "both",
    least_share: Annotated[
        float, typer.Option(min=0, max=1, help="Draw no calls below this share of the busiest edge's.")
    ] = 0.0,
    colour: Annotated[Literal["errors", "latency"], typer.Option(help="What the map's colour shows.")] = "errors",
    by: Annotated[
        Literal["service", "namespace", "pod", "operation", "version", "environment", "cluster"],
        typer.Option(help="What the nodes are."),
    ] = "service",
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
    from .graph_views import show, show_tables, tables_of

    if (store is None) == (from_file is None):
        raise typer.BadParameter("give --store, or --from with a file that holds a graph", param_hint="--store")
    opened = None if store is None else store_at(store)
    if ways is not None and opened is None:
        raise typer.BadParameter("ways are followed through the spans of a --store", param_hint="--ways")
    if opened is None:
        assert from_file is not None
        found = DependencyGraph.from_file(from_file)
    else:
        shown = ["edges", *(["operations"] if operations else []), *(["instances"] if instances else [])]
        # Metrics are written step by step, all else sums the window.
        found = _read(opened, window_of(opened, since, until), by, shown, coarse=output != "openmetrics")
    found = found if sidecars else found.without_sidecars()
    found = found.by_namespace() if by == "namespace" else found
    if page is not None:
        drawn = found.figure(colour=colour, focus=focus, hops=hops, towards=towards, least_share=least_share)
        write_figure(drawn, page, "service map")
    tables = tables_of(found, operations=operations, instances=instances, impact=impact, ways=ways, store=opened)
    if tables and output not in ("text", "json"):
        raise typer.BadParameter(f"tables are written as text or json, not {output}", param_hint="-o")
    typer.echo(show_tables(tables, output) if tables else show(found, output), nl=False)


def _read(store: Store, window: Window | None, by: str, shown: list[str], *, coarse: bool) -> DependencyGraph:
    """Return the graph of a window, and say what it is of where nobody did or where it is empty."""
    from ..graph.dependency_graph import DependencyGraph

    nodes = "service" if by == "namespace" else by
    found = DependencyGraph.read(store, window, by=nodes, coarse=coarse, durations_of=shown)
    if window is None:
        typer.echo(f"all that the store holds: {found.window}", err=True)
    say_if_empty(store, found)
    return found
