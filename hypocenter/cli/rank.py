"""``hypocenter rank``: where an incident in a store most likely began."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .answers import FOUND, Output
from .places import StorePlace

if TYPE_CHECKING:
    from ..incident import RankedIncident

At = Annotated[str | None, typer.Option(help="When it was noticed: RFC 3339, epoch or relative (-10m).")]
Since = Annotated[str | None, typer.Option(help="Begin of the incident window, in place of the one around --at.")]
Until = Annotated[str | None, typer.Option(help="End of the incident window; by default the end of the data.")]
BaselineSince = Annotated[str | None, typer.Option(help="Begin of a quiet window to compare with.")]
BaselineUntil = Annotated[str | None, typer.Option(help="End of the quiet window.")]
Symptom = Annotated[str | None, typer.Option(help="The service where it hurts; by default found in the data.")]
RankerName = Annotated[str, typer.Option("--ranker", help="The ranking method.")]


def rank(
    store: StorePlace,
    at: At = None,
    since: Since = None,
    until: Until = None,
    baseline_since: BaselineSince = None,
    baseline_until: BaselineUntil = None,
    symptom: Symptom = None,
    ranker: RankerName = "hypocenter",
    output: Output = "text",
    exit_code: Annotated[bool, typer.Option("--exit-code", help=f"Exit with {FOUND} when an origin is named.")] = False,
) -> None:
    """Say where a failure most likely began, since when, how sure that is, and what speaks for and against it.

    Without --at and --since the incident is looked for in the data. "No clear origin" is an answer, with exit code 0.
    """
    incident = ranked(store, at, since, until, (baseline_since, baseline_until), symptom, ranker)
    if output == "json":
        typer.echo(json.dumps(incident.ranking.to_dict(), indent=2))
    else:
        from rich.console import Console

        from ..report.text import to_text

        Console(highlight=False).print(to_text(incident.ranking, incident.case))
    if exit_code and incident.ranking.outcome == "ranked":
        raise typer.Exit(FOUND)


def ranked(
    store: str,
    at: str | None,
    since: str | None,
    until: str | None,
    baseline: tuple[str | None, str | None],
    symptom: str | None,
    ranker: str,
) -> RankedIncident:
    """Return the ranking that the options ask for; one that cannot be read is a usage error naming it."""
    from .. import session
    from ..analysis.ranker import names

    if ranker not in names():
        raise typer.BadParameter(f"unknown ranker {ranker!r}; known: {', '.join(names())}", param_hint="--ranker")
    quiet_since, quiet_until = baseline
    if (quiet_since is None) != (quiet_until is None):
        raise typer.BadParameter("a baseline needs both --baseline-since and --baseline-until")
    options = ("--at", at), ("--since", since), ("--until", until)
    for option, text in (*options, ("--baseline-since", quiet_since), ("--baseline-until", quiet_until)):
        _check_time(option, text)
    quiet = None if quiet_since is None or quiet_until is None else (quiet_since, quiet_until)
    return session.open(store).rank(at, since, until, quiet, symptom, ranker)


def _check_time(option: str, text: str | None) -> None:
    from ..moments import moment_ns

    if text is not None:
        try:
            moment_ns(text)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=option) from error
