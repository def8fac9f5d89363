"""``hypocenter demo``: from files to an answer, on a recorded incident that travels with the package."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SourceError
from .text import aligned, milliseconds

if TYPE_CHECKING:
    from ..graph.dependency_graph import DependencyGraph

# The recording of sample_data/lab that hypocenter/demo_incident is, and what its label says.
CASE = "bad-rollout-catalog-1"
TRUTH = "at 2026-11-29T11:21:41.586Z one replica of catalog got version 9.0.0, which fails on two requests of three"


def demo(
    out: Annotated[
        Path | None, typer.Option(help="Where the store and the report go; by default a new temporary folder.")
    ] = None,
) -> None:
    """Read a recorded incident, print who calls whom and where it most likely began, and write the report.

    The recording is of real processes: a shop of 18 services with PostgreSQL, Redis and RabbitMQ, under load, and one
    fault put in.
    """
    from rich.console import Console

    from .. import session
    from ..report.text import to_text

    recording = resources.files("hypocenter") / "demo_incident"
    if not recording.is_dir():
        raise SourceError(f"{recording}: the recorded incident is not there; install hypocenter again")
    folder = out or Path(tempfile.mkdtemp(prefix="hypocenter-demo-"))
    store = folder / "store"
    _ingest(Path(str(recording)), store)
    opened = session.open(store)
    incident = opened.rank()
    report = incident.report(folder / "report.html")
    typer.echo(_edges(opened.graph()))
    typer.echo("")
    Console(highlight=False).print(to_text(incident.ranking, incident.case))
    typer.echo(f"\nreport  {report}\nstore   {store}")
    typer.echo(f"\nwhat was done to the shop: {TRUTH} (sample_data/lab/recordings/{CASE})", err=True)
    typer.echo(f"go on with: hypocenter graph --store {store} --html map.html", err=True)


def _ingest(recording: Path, store: Path) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from ..tracer.ingest import ingest
    from ..tracer.source import walk
    from ..tracer.store import Store

    files = walk([recording])
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=sum(Path(file).stat().st_size for file in files))
        summary = ingest(files, Store(store, create=True), lambda count: bar.advance(task, count))
    if summary.failed:
        raise SourceError("; ".join(str(file.error) for file in summary.files if file.error))
    rows = ", ".join(f"{count:,} {signal}" for signal, count in sorted(summary.tally.accepted.items()))
    typer.echo(f"read {rows}" if rows else "read before: nothing new", err=True)


def _edges(graph: DependencyGraph) -> str:
    """Return a line per edge: the graph in short."""
    edges = graph.edges
    slow = edges["client_p95_s"].fillna(edges["server_p95_s"])
    rows = [
        [caller, callee, kind, f"{count:,}", f"{ratio:.1%}" if ratio else "0", milliseconds(p95)]
        for caller, callee, kind, count, ratio, p95 in zip(
            edges["source"], edges["target"], edges["kind"], edges["count"], edges["error_ratio"], slow, strict=True
        )
    ]
    return "\n".join(aligned([["caller", "callee", "kind", "calls", "errors", "p95"], *rows], left=3))
