"""``hypocenter batch``: a pass over hours or days, once or at an interval."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    interval_s, templates = None if every is None else _interval(every), templates_of(link)
    from ..batch.results import results_at
    from ..tracer.store.remote import store_at

    opened = store_at(store, sample=sample)
    with _engine(engine, master) as at_work:
        if alerts is not None:
            _rank_alerts(opened, out, alerts, ranker, at_work, output, exit_code)
            return
        while True:
            with results_at(out) as folder:
                done = _one_pass(opened, folder, since, until, ranker, at_work, templates)
            typer.echo(_to_json(done, out) if output == "json" else _to_text(done, out))
            if interval_s is None:
                break
            time.sleep(interval_s)
    if done.failed:
        raise typer.Exit(1)
    if exit_code and len(done.incidents):
        raise typer.Exit(FOUND)


def _engine(name: str, master: str | None) -> AbstractContextManager[Engine]:
    from ..graph.engine import open_engine

    try:
        return open_engine(name, master, processes=os.cpu_count() or 1)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--engine/--master") from error


def _rank_alerts(
    store: Opened, out: str, alerts: Path, ranker: str, engine: Engine, output: str, exit_code: bool
) -> None:
    from ..batch.alerts import rank_alerts, read_alerts
    from ..batch.results import results_at

    with results_at(out) as folder, _progress() as show:
        incidents = rank_alerts(store, folder, read_alerts(alerts), engine, ranker, show)
    told = _incidents_json(incidents) if output == "json" else [*_incident_lines(incidents), out]
    typer.echo(json.dumps({"incidents": told}, indent=2) if output == "json" else "\n".join(told))
    if (incidents["outcome"] == "failed").any():
        raise typer.Exit(1)
    if exit_code and len(incidents):
        raise typer.Exit(FOUND)


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """Yield a function that shows steps done, steps in all and the step at work, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("look", total=None)
        yield lambda done, total, step: bar.update(task, completed=done, total=total, description=step)


def _one_pass(
    store: Opened,
    out: Path,
    since: str | None,
    until: str | None,
    ranker: str,
    engine: Engine,
    links: dict[str, str],
) -> Pass:
    from ..batch import run

    window = _window(store, since, until)
    with _progress() as show:
        return run(store, out, window, ranker, show, engine, links)


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
        ranked = row["outcome"] == "ranked"
        origin = f"{row['origin']} ({row['kind']}) {row['probability']:.0%}" if ranked else "no clear origin"
        felt = row["felt"] or row["symptom"] or "not told where"
        lines.append(f"{row['start']:%Y-%m-%d %H:%M:%S}  {origin}  felt: {felt}")
    return lines


def _incidents_json(incidents: pd.DataFrame) -> Any:
    return json.loads(incidents.to_json(orient="records", date_format="iso", date_unit="ns"))


def _to_text(done: Pass, out: str) -> str:
    head = f"{done.analysed} hours analysed, {done.skipped} unchanged"
    failed = [f"not analysed: {line}" for line in done.failed]
    return "\n".join([head, *_incident_lines(done.incidents), *failed, _page(done, out)])


def _to_json(done: Pass, out: str) -> str:
    counts = {"analysed": done.analysed, "skipped": done.skipped, "failed": list(done.failed)}
    return json.dumps(counts | {"page": _page(done, out), "incidents": _incidents_json(done.incidents)}, indent=2)


def _page(done: Pass, out: str) -> str:
    # It was written to a copy of the place where that is not a folder.
    return f"{out.rstrip('/')}/{done.page.name}"
