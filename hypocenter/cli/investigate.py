"""``hypocenter investigate``: from an incident's telemetry to its answer, its report and a notebook of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .rank import At, BaselineSince, BaselineUntil, RankerName, Since, Symptom, Until, ranked
from .report import Links, templates_of, write

if TYPE_CHECKING:
    from ..session import Session


def investigate(
    incident: Annotated[
        str, typer.Argument(help="A store (a folder, s3://bucket/prefix), or files and folders of telemetry.")
    ],
    notebook: Annotated[
        Path | None, typer.Option(help="Write a notebook for the incident here; an existing one is replaced.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the report here, Markdown with .md; an existing one is replaced.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Where telemetry is put; by default a folder beside what is written.")
    ] = None,
    at: At = None,
    since: Since = None,
    until: Until = None,
    baseline_since: BaselineSince = None,
    baseline_until: BaselineUntil = None,
    symptom: Symptom = None,
    ranker: RankerName = "hypocenter",
    link: Links = None,
    show: Annotated[bool, typer.Option("--open", help="Show the report in the browser.")] = False,
) -> None:
    """Say where an incident most likely began; write its report, and a notebook with the questions that come next.

    The notebook's cells are filled in for this incident: its store, times, suspect and windows.
    """
    from rich.console import Console

    from ..notebook import write_notebook
    from ..report.text import to_text

    if show and report is None:
        raise typer.BadParameter("shows the report: say where to write it with --report", param_hint="--open")
    templates = templates_of(link)
    session = _session(incident, store, notebook or report)
    asked = (baseline_since, baseline_until)
    found = ranked(session.store.place, at, since, until, asked, symptom, ranker)
    Console(highlight=False).print(to_text(found.ranking, found.case))
    if report is not None:
        typer.echo(f"report: {write(found, report, templates, '--report')}", err=True)
        if show:
            _open_page(report)
    if notebook is not None:
        try:
            write_notebook(session, found, notebook, symptom)
        except OSError as error:
            raise typer.BadParameter(f"cannot write {notebook}: {error.strerror}", param_hint="--notebook") from error
        typer.echo(f"notebook: {notebook} (open it with: jupyter lab {notebook})", err=True)


def _open_page(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        typer.echo(f"no browser to show it with; open {path} yourself", err=True)


def _session(place: str, store: Path | None, written: Path | None) -> Session:
    """Return a session on the store that is at ``place``, else on one that the telemetry there was read into."""
    from .. import session
    from ..errors import SourceError
    from ..tracer.store.places import is_remote, path_of

    if is_remote(place):
        return session.open(place)
    incident = path_of(place)
    if not incident.exists():
        raise typer.BadParameter(f"{place} does not exist", param_hint="INCIDENT")
    if incident.is_dir():
        try:
            return session.open(incident)
        except SourceError:
            pass  # not a store, so telemetry
    stem = (written or Path(incident.name)).with_suffix("")
    target = store or stem.with_name(f"{stem.name}-store")
    typer.echo(f"reading {incident} into {target}", err=True)
    return session.ingest(incident, target)
