"""``hypocenter diff``: what changed in the dependency graph from one window to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def diff(
    store: Annotated[Path, typer.Option(help="The store's folder.")],
    before: Annotated[str, typer.Option(help="The window to compare with: START/END (RFC 3339, epoch, or -2h).")],
    after: Annotated[str, typer.Option(help="The window that may have changed, likewise.")],
    against: Annotated[
        Path | None, typer.Option(help="Another store for the window of --before; by default the same.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="text or json")] = "text",
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 3 when something changed.")] = False,
) -> None:
    """Name the calls that appeared, vanished, or changed significantly in rate, errors or duration."""
    from ..graph.dependency_graph import DependencyGraph
    from ..tracer.store import Store
    from .graph import printable, say_if_empty, window_of

    if output not in ("text", "json"):
        raise typer.BadParameter(f"expected text or json, not {output!r}", param_hint="-o")
    graphs = []
    for path, text, flag in ((against or store, before, "--before"), (store, after, "--after")):
        opened = Store(path)
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
        raise typer.Exit(3)
