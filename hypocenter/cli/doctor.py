"""``hypocenter doctor``: how much of the traffic the graph explains, and what to mend in the instrumentation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .answers import FOUND, Output
from .places import StorePlace
from .text import aligned, milliseconds, printable
from .windows import Since, Until, say_if_empty, window_of

if TYPE_CHECKING:
    import pandas as pd


def doctor(
    store: StorePlace,
    since: Since = None,
    until: Until = None,
    output: Output = "text",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit with {FOUND} when there is something to mend.")
    ] = False,
) -> None:
    """Report the coverage of the dependency graph: what is lost, by which services, and the likely remedy."""
    from ..graph import clock_skew
    from ..graph.context_breaks import context_breaks, explosions
    from ..graph.dependency_graph import DependencyGraph
    from ..graph.doctor import findings
    from ..graph.export import records
    from ..graph.sampling_bias import biases
    from ..tracer.store.remote import store_at

    opened = store_at(store)
    graph = DependencyGraph.read(opened, window_of(opened, since, until))
    say_if_empty(opened, graph)
    found = [
        *biases(graph.rollups, graph.with_matched().told),
        *context_breaks(opened, graph),
        *findings(graph),
        *explosions(opened, graph),
    ]
    skews = clock_skew.read(opened, graph.window)
    skewed = skews[skews["is_skewed"]]
    seen, adjusted = int(graph.edges["count"].sum()), float(graph.edges["adjusted_count"].sum())
    if output == "json":
        report = {"window": graph.to_json()["window"], "coverage": graph.coverage.to_dict()}
        report["sampling"] = {"calls": seen, "adjusted_calls": adjusted}
        report["clock_skew"] = records(skewed)
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
        if len(skewed):
            typer.echo("\nclocks that disagree (callee ahead of caller; calls that would else be impossible)")
            for line in aligned([["caller", "callee", "ahead by", "calls", "impossible"], *_rows(skewed)], left=2):
                typer.echo(f"  {line}")
        if not found and not len(skewed) and graph.coverage.spans:
            typer.echo("nothing to mend")
    if exit_code and (found or len(skewed)):
        raise typer.Exit(FOUND)


_MOST_SKEWS = 20


def _rows(skewed: pd.DataFrame) -> list[list[str]]:
    return [
        [
            *(printable(row.caller_clock), printable(row.callee_clock), milliseconds(row.skew_ns / 1e9)),
            *(f"{row.calls:,}", f"{row.impossible:,}"),
        ]
        for row in skewed.head(_MOST_SKEWS).itertuples()
    ]
