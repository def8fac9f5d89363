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

app = typer.Typer(
    name="hypocenter",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Rich draws a table whose narrow columns break most words at 80 characters.
    rich_markup_mode=None,
    context_settings={"max_content_width": 100},
)
# In the order in which a newcomer meets them.
for command, in_short in (
    (demo, "Find the origin of a recorded incident that travels along."),
    (ingest, "Read files of traces, metrics and logs into a store."),
    (collect, "Take live telemetry into a store until told to stop."),
    (graph, "Print or draw who calls whom."),
    (diff, "Print what changed in the graph between two windows."),
    (trace, "Print one trace as a waterfall."),
    (cluster, "Print the Kubernetes objects and what is wrong with them."),
    (changes, "Print what was changed in the cluster, and by whom."),
    (doctor, "Print what the instrumentation loses, and the remedy."),
    (rank, "Say where a failure most likely began, and why."),
    (report, "Write the report of an incident: one HTML file."),
    (investigate, "From an incident's files to answer, report and notebook."),
    (batch, "Find and rank the incidents of hours or days."),
    (export, "Write telemetry or results for other tools."),
    (evaluate, "Score every ranking method on labelled incidents."),
):
    app.command(short_help=in_short)(command)
app.add_typer(pull, short_help="Pull a window from Prometheus, Jaeger, Tempo, ...")
app.add_typer(store, short_help="Show, check, compact, copy or prune a store.")
app.add_typer(hook, short_help="Add to Alertmanager's alerts where the failure began.")


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
