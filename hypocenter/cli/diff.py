"""``hypocenter diff``: what changed in the dependency graph from one window to another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .answers import FOUND, Output
from .places import StorePlace
from .text import printable
from .windows import say_if_empty, window_of

if TYPE_CHECKING:
    from ..graph.dependency_graph import DependencyGraph
    from ..tracer.store import Store


def diff(
    store: StorePlace,
    before: Annotated[
        str | None, typer.Option(help="The window to compare with: START/END (RFC 3339, epoch, or -2h).")
    ] = None,
    after: Annotated[str | None, typer.Option(help="The window that may have changed, likewise.")] = None,
    rollout: Annotated[
        str | None, typer.Option(help="A service: compare before and after its last version appeared.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another store for the window of --before; by default the same.")
    ] = None,
    output: Output = "text",
    exit_code: Annotated[bool, typer.Option("--exit-code", help=f"Exit with {FOUND} when something changed.")] = False,
) -> None:
    """Name the calls and versions that appeared or vanished, and calls that changed in rate, errors or duration."""
    from ..graph.dependency_graph import DependencyGraph
    from ..tracer.store.remote import store_at

    graphs = []
    if rollout is not None and before is None and after is None and against is None:
        graphs = list(_around_rollout(store_at(store), rollout))
    elif rollout is not None or before is None or after is None:
        raise typer.BadParameter("give --before and --after, or --rollout alone", param_hint="--before")
    for path, text, flag in ((against or store, before, "--before"), (store, after, "--after")):
        if text is None:
            continue
        opened = store_at(path)
        start, slash, end = text.partition("/")
        if not slash:
            raise typer.BadParameter(f"expected START/END, not {text!r}", param_hint=flag)
        graph = DependencyGraph.read(opened, window_of(opened, start or None, end or None, flags=flag))
        say_if_empty(opened, graph)
        graphs.append(graph)
    found = graphs[0].diff(graphs[1])
    if output == "json":
        typer.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        for line in str(found).splitlines():
            typer.echo(printable(line))
    if exit_code and found.table["is_significant"].any():
        raise typer.Exit(FOUND)


def _around_rollout(store: Store, service: str) -> tuple[DependencyGraph, DependencyGraph]:
    """Return the graphs before and after the last version of a service appeared, of equal length as far as held."""
    from ..graph.dependency_graph import DependencyGraph
    from ..graph.replicas import rollout_ns
    from ..tracer.window import Window

    whole = DependencyGraph.read(store)
    onset = rollout_ns(whole, service)
    length = min(onset - whole.window.start_ns, whole.window.end_ns - onset)
    return (
        DependencyGraph.read(store, Window(onset - length, onset)),
        DependencyGraph.read(store, Window(onset, onset + length)),
    )
