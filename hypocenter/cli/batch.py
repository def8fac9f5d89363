"""``hypocenter batch``: a pass over hours or days, once or at an interval."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .rank import FOUND, RankerName, Store

if TYPE_CHECKING:
    from ..batch import Pass
    from ..tracer.store import Store as Opened
    from ..tracer.window import Window


def batch(
    store: Store,
    out: Annotated[Path, typer.Option(help="The folder of the results; made when it is absent.")],
    since: Annotated[str | None, typer.Option(help="RFC 3339, epoch or relative (-24h); default: all data.")] = None,
    until: Annotated[str | None, typer.Option(help="The end; by default the end of the data.")] = None,
    every: Annotated[str | None, typer.Option(help="Go on, a pass at this interval (1h, 15m).")] = None,
    ranker: RankerName = "hypocenter",
    output: Annotated[str, typer.Option("--output", "-o", help="text or json")] = "text",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit with {FOUND} if there was an incident.")
    ] = False,
) -> None:
    """Find the incidents of hours or days, rank each, and write Parquet tables, a page, and a report per incident.

    An hour that is done and whose data did not change is skipped, so a pass can be cut and run again. Exits with 1 when
    an hour could not be analysed.
    """
    if output not in ("text", "json"):
        raise typer.BadParameter(f"expected text or json, not {output!r}", param_hint="-o")
    interval_s = None if every is None else _interval(every)
    while True:
        done = _one_pass(store, out, since, until, ranker)
        typer.echo(_to_json(done) if output == "json" else _to_text(done))
        if interval_s is None:
            break
        time.sleep(interval_s)
    if done.failed:
        raise typer.Exit(1)
    if exit_code and len(done.incidents):
        raise typer.Exit(FOUND)


def _one_pass(store: Path, out: Path, since: str | None, until: str | None, ranker: str) -> Pass:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ..batch import run
    from ..tracer.store import Store as Opened

    opened = Opened(store)
    window = _window(opened, since, until)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("hours", total=None)

        def show(done: int, total: int, hour: str) -> None:
            bar.update(task, completed=done, total=total, description=hour)

        return run(opened, out, window, ranker, show)


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


def _to_text(done: Pass) -> str:
    lines = [f"{done.analysed} hours analysed, {done.skipped} unchanged"]
    for row in done.incidents.to_dict("records"):
        ranked = row["outcome"] == "ranked"
        origin = f"{row['origin']} ({row['kind']}) {row['probability']:.0%}" if ranked else "no clear origin"
        lines.append(f"{row['start']:%Y-%m-%d %H:%M:%S}  {origin}  felt: {row['felt']}")
    lines += [f"not analysed: {line}" for line in done.failed]
    return "\n".join([*lines, str(done.page)])


def _to_json(done: Pass) -> str:
    incidents = json.loads(done.incidents.to_json(orient="records", date_format="iso", date_unit="ns"))
    counts = {"analysed": done.analysed, "skipped": done.skipped, "failed": list(done.failed)}
    return json.dumps(counts | {"page": str(done.page), "incidents": incidents}, indent=2)
