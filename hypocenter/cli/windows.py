"""The window of event time that a command looks at: its options, its ends, and what is said when it holds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..graph.dependency_graph import DependencyGraph
    from ..tracer.store import Store
    from ..tracer.window import Window

Since = Annotated[
    str | None,
    typer.Option("--since", help="Start: RFC 3339, epoch, or relative to now (-1h). By default the first span."),
]
Until = Annotated[str | None, typer.Option("--until", help="End, likewise. By default the last span.")]


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
