"""``hypocenter ingest``: files of traces, metrics and logs into a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .answers import Output
from .places import FolderPlace

if TYPE_CHECKING:
    from ..tracer.ingest import FileResult, Summary

_PLACES_SHOWN = 3


def ingest(
    paths: Annotated[list[str], typer.Argument(help="Files, folders (walked), or - for standard input.")],
    store: FolderPlace,
    time: Annotated[
        str | None, typer.Option(help="The time of samples without one: RFC 3339, epoch or relative (-1h).")
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", help="YAML that names the columns of a table.", exists=True, dir_okay=False),
    ] = None,
    allow_attribute: Annotated[
        list[str] | None, typer.Option(help="Store only attributes of this name or pattern (*); repeat for more.")
    ] = None,
    deny_attribute: Annotated[
        list[str] | None, typer.Option(help="Do not store attributes of this name or pattern.")
    ] = None,
    hash_attribute: Annotated[
        list[str] | None, typer.Option(help="Store a digest in place of the values of these attributes.")
    ] = None,
    masks: Annotated[
        bool, typer.Option(help="Mask credentials, cookies, URL queries, SQL literals and e-mail addresses.")
    ] = True,
    output: Output = "text",
) -> None:
    """Read files of any known format into a store; what cannot be read is named and counted, the rest goes in.

    Exits with 1 when a file failed or nothing was read. A file that is already in the store adds nothing.
    """
    from ..tracer.ingest import ingest as ingest_files
    from ..tracer.mapping import read_map
    from ..tracer.privacy import Privacy
    from ..tracer.source import walk
    from ..tracer.store import Store

    time_ns = None if time is None else _time(time)
    privacy = Privacy(allow_attribute or (), deny_attribute or (), hash_attribute or (), masks)
    reader = None if map_file is None else read_map(map_file)
    files = walk(paths)
    with _progress() as bar:
        task = bar.add_task("reading", total=_size(files))
        summary = ingest_files(
            files,
            Store(store, create=True),
            lambda n: bar.advance(task, n),
            time_ns=time_ns,
            privacy=privacy,
            reader=reader,
        )
    if output == "json":
        typer.echo(json.dumps(_to_json(summary), indent=2, ensure_ascii=False))
    else:
        for file in summary.files:
            typer.echo(_to_text(file))
    if not summary.files:
        typer.echo("nothing to read: the folders hold no files", err=True)
    if summary.failed or not summary.files:
        raise typer.Exit(1)


def _time(text: str) -> int:
    from ..tracer.window import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--time") from error


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _size(files: list[str]) -> int | None:
    """Return the bytes to read, None when standard input is among the files."""
    return None if "-" in files else sum(Path(f).stat().st_size for f in files if Path(f).is_file())


def _to_json(summary: Summary) -> dict[str, Any]:
    def counts(file: FileResult) -> dict[str, Any]:
        tally = file.tally
        return {
            "path": file.path,
            "format": file.format,
            "outcome": file.outcome,
            "rows": dict(tally.accepted),
            "dropped": dict(tally.dropped),
            "repaired": dict(tally.repaired),
            "problems": tally.problems,
            "error": file.error,
        }

    return {"files": [counts(file) for file in summary.files], "rows": dict(summary.tally.accepted)}


def _to_text(file: FileResult) -> str:
    if file.outcome == "failed" and not file.tally.accepted:
        return f"failed: {file.error}"
    rows = ", ".join(f"{count:,} {signal}" for signal, count in sorted(file.tally.accepted.items())) or "no rows"
    if file.outcome == "already-there":
        return f"already there: {file.path}"
    lines = [f"{file.outcome}: {file.path}: {file.format}: {rows}"]
    if file.error:
        lines.append(f"  stopped: {file.error}")
    lines += [f"  dropped {count:,}: {reason}" for reason, count in sorted(file.tally.dropped.items())]
    lines += [f"  repaired {count:,}: {reason}" for reason, count in sorted(file.tally.repaired.items())]
    lines += [f"    {problem}" for problem in file.tally.problems[:_PLACES_SHOWN]]
    return "\n".join(lines)
