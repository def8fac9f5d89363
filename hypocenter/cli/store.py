"""``hypocenter store``: what a store holds, whether it is sound, and its upkeep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .answers import Output
from .places import HELP
from .text import aligned

store = typer.Typer(name="store", no_args_is_help=True, help="Show a store, check it, compact it, prune it.")

_Folder = Annotated[Path, typer.Argument(metavar="STORE", help="The store's folder.")]
_Place = Annotated[str, typer.Argument(metavar="STORE", help=HELP)]


@store.command(short_help="Print how much of each signal it holds, and of when.")
def info(place: _Place, output: Output = "text") -> None:
    """Print segments, rows, bytes and the window of event time of each signal; only footers are read."""
    from ..tracer.schema import SIGNALS
    from ..tracer.store.remote import store_at
    from ..tracer.window import to_rfc3339

    opened = store_at(place)
    found: dict[str, dict[str, Any]] = {}
    for signal in SIGNALS:
        segments = opened.segments(signal)
        bounds = opened.bounds(signal)
        found[signal] = {
            "segments": len(segments),
            "rows": sum(segment.rows for segment in segments),
            "size_bytes": opened.size_bytes(segments),
            "since": None if bounds is None else to_rfc3339(bounds.start_ns),
            "until": None if bounds is None else to_rfc3339(bounds.end_ns),
        }
    if output == "json":
        typer.echo(json.dumps({"signals": found, "problems": opened.problems}, indent=2))
    else:
        _print_signals(found)
    _tell(opened.problems)


@store.command(short_help="Read everything and name what is damaged.")
def check(place: _Place, output: Output = "text") -> None:
    """Read every page of every segment and name what is damaged; exits with 1 when something is."""
    from ..tracer.store.check import check as check_store
    from ..tracer.store.remote import store_at

    found = check_store(store_at(place))
    facts = {"segments": found.segments, "rows": found.rows, "size_bytes": found.size_bytes}
    _print({**facts, "problems": found.problems} if output == "json" else facts, output)
    _tell(found.problems)
    if found.problems:
        raise typer.Exit(1)


@store.command(short_help="Merge the small segments of past hours.")
def compact(place: _Place, output: Output = "text") -> None:
    """Merge the small segments of past hours into larger ones; safe while others write and read."""
    from dataclasses import asdict

    from ..tracer.store.compact import compact as compact_store
    from ..tracer.store.remote import RemoteStore, store_at
    from ..tracer.store.remote_compact import compact_hours

    opened = store_at(place)
    found = compact_hours(opened) if isinstance(opened, RemoteStore) else compact_store(opened)
    _print(asdict(found), output)
    _tell(opened.problems)


@store.command(short_help="Copy the hours that are over to object storage.")
def copy(
    folder: _Folder,
    to: Annotated[
        str, typer.Argument(metavar="URL", help="s3://bucket/prefix; endpoint and keys are the environment's.")
    ],
    output: Output = "text",
) -> None:
    """Copy the hours that are over to object storage, each by itself whole; one that is there already is left alone."""
    import time

    from ..tracer.store import Store
    from ..tracer.store.copy import copy_hours
    from ..tracer.store.places import is_remote

    if not is_remote(to):
        raise typer.BadParameter(f"expected s3://bucket/prefix, not {to!r}", param_hint="URL")
    opened = Store(folder)
    hours, size = copy_hours(opened, to, now_ns=time.time_ns(), progress=lambda hour: typer.echo(hour, err=True))
    _print({"hours": hours, "size_bytes": size}, output)
    _tell(opened.problems)


@store.command(short_help="Remove what is old, or what is over a size.")
def prune(
    folder: _Folder,
    before: Annotated[str | None, typer.Option(help="RFC 3339, epoch, or relative: -7d keeps a week.")] = None,
    keep_bytes: Annotated[int | None, typer.Option(min=0, help="Keep so many bytes of what arrived last.")] = None,
    output: Output = "text",
) -> None:
    """Remove spans, points, logs and events by age or size, in whole segments; the files go an hour later."""
    from ..tracer.store import Store
    from ..tracer.store.prune import prune as prune_store
    from ..tracer.store.prune import prune_to_size
    from ..tracer.window import parse_time

    if before is None and keep_bytes is None:
        raise typer.BadParameter("say what may go", param_hint="--before or --keep-bytes")
    opened, found = Store(folder), []
    if before is not None:
        try:
            found.append(prune_store(opened, parse_time(before)))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--before") from error
    if keep_bytes is not None:
        found.append(prune_to_size(opened, keep_bytes))
    _print({"segments": sum(one.segments for one in found), "rows": sum(one.rows for one in found)}, output)
    _tell(opened.problems)


def _print(facts: Mapping[str, Any], output: str) -> None:
    if output == "json":
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' ')}: {value:,}")


def _print_signals(found: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [["signal", "segments", "rows", "bytes", "since", "until"]]
    for signal, facts in found.items():
        counts = [f"{facts[name]:,}" for name in ("segments", "rows", "size_bytes")]
        # To the second; `-o json` has the nanoseconds.
        rows.append([signal, *counts, *(f"{facts[end][:19]}Z" if facts[end] else "-" for end in ("since", "until"))])
    typer.echo("\n".join(aligned(rows, left=1)))


def _tell(problems: list[str]) -> None:
    for problem in problems:
        typer.echo(f"skipped: {problem}", err=True)
