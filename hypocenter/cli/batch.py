"""``hypocenter batch``: a pass over hours or days, once or at an interval."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ..legible import visible
from .answers import FOUND, Output
from .places import StorePlace
from .rank import RankerName
from .report import Links, templates_of

if TYPE_CHECKING:
    import pandas as pd

    from ..batch import Pass
    from ..graph.engine import Engine
    from ..tracer.store import Store as Opened
    from ..tracer.window import Window


def batch(
    store: StorePlace,
    out: Annotated[str, typer.Option(help="The folder of the results, or s3://bucket/prefix; made when it is absent.")],
    since: Annotated[str | None, typer.Option(help="RFC 3339, epoch or relative (-24h); default: all data.")] = None,
    until: Annotated[str | None, typer.Option(help="The end; by default the end of the data.")] = None,
    every: Annotated[str | None, typer.Option(help="Go on, a pass at this interval (1h, 15m).")] = None,
    ranker: RankerName = "hypocenter",
    engine: Annotated[str, typer.Option(help="duckdb: this machine; spark: a cluster (the extra spark).")] = "duckdb",
    alerts: Annotated[
        Path | None, typer.Option(help="Rank these instead: a CSV file with the columns time and, if known, service.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, help="Roll up one trace in so many; adjusted counts make up for the rest.")
    ] = 1,
    most_spans: Annotated[
        int | None,
        typer.Option(min=1, help="Link about so many spans an hour at most: of a busier one a sample of traces."),
    ] = None,
    master: Annotated[str | None, typer.Option(help="The cluster's URL (spark://host:7077), for Spark.")] = None,
    output: Output = "text",
    link: Links = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit with {FOUND} if there was an incident.")
    ] = False,
) -> None:
    """Find the incidents of hours or days, rank each, and write Parquet tables, a page, and a report per incident.

    An hour that is done and whose data did not change is skipped, so a pass can be cut and run again. Exits with 1 when
    an hour could not be analysed.
    """
    if alerts is not None and (since or until or every):
        raise typer.BadParameter("takes no --since, --until or --every: the alerts say when", param_hint="--alerts")
    if alerts is not None and link:
        raise typer.BadParameter("is for reports, and --alerts writes none", param_hint="--link")
    if most_spans is not None and sample != 1:
        raise typer.BadParameter("chooses the sample itself; leave out --sample", param_hint="--most-spans")
    interval_s, templates = None if every is None else _interval(every), templates_of(link)
    from ..tracer.store.remote import store_at

    opened = store_at(store, sample=sample)

    def one_pass() -> Pass:
        from ..batch import run

        window = _window(opened, since, until)
        with _engine(engine, master) as at_work, _progress() as show:
            done = run(opened, out, window, ranker, show, at_work, templates, most_spans)
        typer.echo(_to_json(done) if output == "json" else _to_text(done))
        return done

    if alerts is not None:
        with _engine(engine, master) as at_work:
            _rank_alerts(opened, out, alerts, ranker, at_work, most_spans, output, exit_code)
    elif interval_s is not None:
        _go_on(one_pass, interval_s)
    else:
        done = one_pass()
        if done.failed:
            raise typer.Exit(1)
        if exit_code and len(done.incidents):
            raise typer.Exit(FOUND)


def _go_on(one_pass: Callable[[], object], interval_s: float) -> NoReturn:
    """Do a pass at each interval; what keeps one from being done is told, and may have passed by the next."""
    from ..errors import SourceError

    while True:
        try:
            one_pass()
        except SourceError as error:
            typer.echo(f"hypocenter: {error}; the next pass is in {interval_s:g} s", err=True)
        time.sleep(interval_s)


def _engine(name: str, master: str | None) -> AbstractContextManager[Engine]:
    from ..graph.engine import open_engine

    try:
        return open_engine(name, master, processes=os.cpu_count() or 1)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--engine/--master") from error


def _rank_alerts(
    store: Opened,
    out: str,
    alerts: Path,
    ranker: str,
    engine: Engine,
    most_spans: int | None,
    output: str,
    exit_code: bool,
) -> None:
    from ..batch.alerts import rank_alerts, read_alerts

    with _progress() as show:
        incidents = rank_alerts(store, out, read_alerts(alerts), engine, ranker, show, most_spans)
    if output == "json":
        typer.echo(json.dumps({"incidents": _incidents_json(incidents)}, indent=2))
    else:
        typer.echo("\n".join(visible(line) for line in [*_incident_lines(incidents), out]))
    if (incidents["outcome"] == "failed").any():
        raise typer.Exit(1)
    if exit_code and len(incidents):
        raise typer.Exit(FOUND)


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """Yield a function that shows steps done, steps in all and what was done last, on standard error.

    A terminal shows a bar; elsewhere, in the log of a job say, each step is a line.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total, step: typer.echo(f"{done} of {total}: {visible(step)}", err=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking", total=None)
        yield lambda done, total, step: bar.update(task, completed=done, total=total, description=escape(visible(step)))


def _window(store: Opened, since: str | None, until: str | None) -> Window | None:
    from ..moments import moment_ns
    from ..tracer.window import Window

    held = store.bounds("spans")
    if held is None or (since is None and until is None):
        return None
    try:
        start_ns = held.start_ns if since is None else moment_ns(since)
        end_ns = max(held.end_ns, start_ns + 1) if until is None else moment_ns(until)
        return Window(start_ns, end_ns)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since/--until") from error


def _interval(text: str) -> float:
    from ..tracer.window import parse_time

    try:
        seconds = parse_time(f"+{text.lstrip('+-')}", now_ns=0) / 1e9
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise typer.BadParameter(f"expected an interval such as 1h or 15m, got {text!r}", param_hint="--every")
    return seconds


def _incident_lines(incidents: pd.DataFrame) -> list[str]:
    lines = []
    for row in incidents.to_dict("records"):
        felt = row["felt"] if isinstance(row.get("felt"), str) else row["symptom"]
        lines.append(f"{row['start']:%Y-%m-%d %H:%M:%S}  {_origin(row)}  felt: {felt or 'not told where'}")
    return lines


def _origin(row: dict[str, Any]) -> str:
    if row["outcome"] != "ranked":
        return "no clear origin"
    named = f"{row['origin']} ({row['kind']})"
    # Not every ranker gives one.
    return named if math.isnan(row["probability"]) else f"{named} {row['probability']:.0%}"


def _incidents_json(incidents: pd.DataFrame) -> Any:
    return json.loads(incidents.to_json(orient="records", date_format="iso", date_unit="ns"))


def _to_text(done: Pass) -> str:
    counted = Counter(done.samples.values())
    lines = [
        f"{done.analysed} hours analysed, {done.skipped} unchanged",
        *(f"one trace in {sample} linked: {hours} hours" for sample, hours in sorted(counted.items())),
        *_incident_lines(done.incidents),
        *(f"not analysed: {line}" for line in done.failed),
        done.page,
    ]
    return "\n".join(visible(line) for line in lines)


def _to_json(done: Pass) -> str:
    counts = {"analysed": done.analysed, "skipped": done.skipped, "failed": list(done.failed)}
    told = {"samples": dict(done.samples), "page": done.page, "incidents": _incidents_json(done.incidents)}
    return json.dumps(counts | told, indent=2)
