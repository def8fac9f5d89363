"""``hypocenter doctor``: how much of the traffic the graph explains, and what to mend in the instrumentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def doctor(
    store: Annotated[Path, typer.Option(help="The store's folder.")],
    since: Annotated[
        str | None, typer.Option(help="Start: RFC 3339, epoch, or relative to now (-1h). By default the first span.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End, likewise. By default the last span.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="text or json")] = "text",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 3 when there is something to mend.")
    ] = False,
) -> None:
    """Report the coverage of the dependency graph: what is lost, by which services, and the likely remedy."""
    from ..graph import from_metrics
    from ..graph.dependency_graph import DependencyGraph
    from ..graph.doctor import findings
    from ..graph.sampling_bias import biases
    from ..tracer.store import Store
    from .graph import printable, say_if_empty, window_of

    if output not in ("text", "json"):
        raise typer.BadParameter(f"expected text or json, not {output!r}", param_hint="-o")
    opened = Store(store)
    graph = DependencyGraph.read(opened, window_of(opened, since, until))
    say_if_empty(opened, graph)
    found = [*biases(graph.rollups, from_metrics.read(opened, graph.window)), *findings(graph)]
    seen, adjusted = int(graph.edges["count"].sum()), float(graph.edges["adjusted_count"].sum())
    if output == "json":
        report = {"window": graph.to_json()["window"], "coverage": graph.coverage.to_dict()}
        report["sampling"] = {"calls": seen, "adjusted_calls": adjusted}
        report["findings"] = [finding.to_dict() for finding in found]
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(f"{graph.window}: {graph.coverage}")
        if seen != adjusted:
            typer.echo(f"sampling: {seen:,} calls stand for {adjusted:,.0f} ({seen / adjusted:.2%})")
        for finding in found:
            typer.echo(f"\n{finding.title}\n  likely remedy: {finding.remedy}")
            for subject, count in finding.subjects[:10]:
                typer.echo(f"  {printable(subject)}: {count:,}")
            if len(finding.subjects) > 10:
                typer.echo(f"  and {len(finding.subjects) - 10:,} more")
        if not found and graph.coverage.spans:
            typer.echo("nothing to mend")
    if exit_code and found:
        raise typer.Exit(3)
