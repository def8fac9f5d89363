"""``hypocenter report``: an incident as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .places import StorePlace, file_at
from .rank import At, BaselineSince, BaselineUntil, RankerName, Since, Symptom, Until, ranked

if TYPE_CHECKING:
    from ..incident import RankedIncident

Links = Annotated[
    list[str] | None,
    typer.Option(help="NAME=URL into Jaeger, Grafana, ..., with {trace_id}, {service} or {start_ms}; repeat."),
]


def report(
    store: StorePlace,
    out: Annotated[
        str,
        typer.Option(help="The HTML file to write (a path, s3://...), Markdown with .md; an existing one is replaced."),
    ],
    at: At = None,
    since: Since = None,
    until: Until = None,
    baseline_since: BaselineSince = None,
    baseline_until: BaselineUntil = None,
    symptom: Symptom = None,
    ranker: RankerName = "hypocenter",
    link: Links = None,
) -> None:
    """Write the report of an incident: the answer, its evidence, map, timelines and traces, and what was not checked.

    The file asks the network for nothing; it can be mailed, archived, and opened anywhere.
    """
    templates = templates_of(link)
    incident = ranked(store, at, since, until, (baseline_since, baseline_until), symptom, ranker)
    with file_at(out) as path:
        write(incident, path, templates, "--out")
    typer.echo(out)


def templates_of(link: list[str] | None) -> dict[str, str]:
    """Return the URL templates of ``--link``; a usage error says what is wrong with one."""
    from ..report.links import parse_links

    try:
        return parse_links(link or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--link") from error


def write(incident: RankedIncident, out: Path, templates: dict[str, str], option: str) -> Path:
    """Write a report; a usage error of ``option`` when its place cannot be written."""
    try:
        return incident.report(out, templates)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {out}: {error.strerror}", param_hint=option) from error
