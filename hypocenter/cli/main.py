"""The command line: one file per command; heavy libraries load inside the commands, so that help is instant."""

from __future__ import annotations

import sys

import typer

from ..errors import HypocenterError
from ..legible import visible
from .batch import batch
from .collect import collect
from .demo import demo
from .diff import diff
from .doctor import doctor
from .evaluate import evaluate
from .export import export
from .graph import graph
from .hook import hook
from .ingest import ingest
from .investigate import investigate
from .kube import changes, cluster
from .pull import pull
from .rank import rank
from .report import report
from .store import store
from .trace import trace

app = typer.Typer(name="hypocenter", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
# In the order in which a newcomer meets them.
for command in (
    demo,
    ingest,
    collect,
    graph,
    diff,
    trace,
    cluster,
    changes,
    doctor,
    rank,
    report,
    investigate,
    batch,
    export,
    evaluate,
):
    app.command()(command)
app.add_typer(pull)
app.add_typer(store)
app.add_typer(hook)


@app.callback()
def about() -> None:
    """Rank where a failure in a cluster of microservices most likely began."""


def main() -> None:
    """Run the command line; an error that the user can mend is one line on standard error and exit code 1."""
    try:
        app()
    except HypocenterError as error:
        typer.echo(f"hypocenter: {visible(str(error))}", err=True)
        sys.exit(1)
