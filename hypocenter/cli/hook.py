"""``hypocenter hook``: between Alertmanager and its receivers, adding where the failure most likely began."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..legible import visible
from .places import HELP

if TYPE_CHECKING:
    from ..hook.config import Config

hook = typer.Typer(name="hook", invoke_without_command=True, no_args_is_help=True)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="The YAML file; docs/howto/alerts.md has its keys.")]


@hook.callback()
def serve(
    context: typer.Context,
    config: ConfigFile = None,
    store: Annotated[str | None, typer.Option(help=HELP)] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT; by default 127.0.0.1:9095.")] = None,
    forward: Annotated[list[str] | None, typer.Option(help="The next webhook receiver; repeat for more.")] = None,
    prometheus: Annotated[str | None, typer.Option(help="Asked for series, and for the rules of alerts.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder of journal, incidents, reports, dead letters.")] = None,
    public_url: Annotated[str | None, typer.Option(help="How people reach the hook, for links.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the configuration, its secrets and its files, and end.")
    ] = False,
) -> None:
    """Receive alerts of Alertmanager and Grafana and pass them on with where the failure most likely began.

    Alerts are posted to /alertmanager or /grafana. An alert that cannot be explained within two seconds goes on as it
    came, at once; what is found later follows.
    """
    if context.invoked_subcommand is not None:
        return
    flags = {"store": store, "listen": listen, "prometheus": prometheus, "state": state, "public_url": public_url}
    built = _config(config, flags, forward or [])
    if check:
        from ..hook.serve import check as check_config

        check_config(built)
        typer.echo(f"{len(built.sinks)} sinks, listening on {built.listen}")
        return
    from ..hook.serve import serve as run

    run(built)


@hook.command(short_help="Send dead letters again, the oldest first.")
def replay(
    config: ConfigFile = None,
    forward: Annotated[list[str] | None, typer.Option(help="The receiver, where no file names it.")] = None,
    state: Annotated[Path | None, typer.Option(help="The hook's folder.")] = None,
    sink: Annotated[str | None, typer.Option(help="Only letters to this sink.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
) -> None:
    """Send dead letters again, the oldest first; what is delivered leaves the folder.

    Exit code 1 when a letter was refused again; the rest of that sink's letters are then left for later.
    """
    built = _config(config, {"state": state}, forward or [])
    failed = asyncio.run(_replay(built, sink, dry_run))
    if failed:
        raise typer.Exit(1)


async def _replay(config: Config, only: str | None, dry_run: bool) -> int:
    from ..hook.dead import DeadLetters, outgoing_of
    from ..hook.outward import Outward
    from ..hook.sinks import create

    sinks = {sink.name: sink for sink in (create(each) for each in config.sinks)}
    outward = Outward(config, list(sinks.values()))
    stopped: set[str] = set()
    try:
        for letter in DeadLetters(config.state / "dead"):
            sink = sinks.get(letter.sink)
            if letter.sink in stopped or (only is not None and letter.sink != only):
                continue
            if sink is None:
                _say(letter.path, f"no sink is named {letter.sink!r}", err=True)
                stopped.add(letter.sink)
                continue
            if dry_run:
                _say(letter.path, letter.content["reason"])
                continue
            outgoing = outgoing_of(letter, sink)
            ended = await outward.attempt(sink, outgoing, letter.content["key"]) if outgoing is not None else None
            if ended is None or ended.outcome == "delivered":
                letter.path.unlink()
                _say(letter.path, "delivered")
            else:
                _say(letter.path, ended.reason, err=True)
                stopped.add(letter.sink)  # later letters must not overtake it
    finally:
        await outward.close()
    return len(stopped)


def _say(path: Path, said: str, *, err: bool = False) -> None:
    """Say something of a letter; a receiver may have written it."""
    typer.echo(visible(f"{path.name}: {said}"), err=err)


def _config(path: Path | None, flags: dict[str, Any], forward: list[str]) -> Config:
    """Return the file's configuration with the flags over it."""
    from ..errors import SourceError
    from ..hook.config import build_config
    from ..tracer.yaml_file import read_yaml

    content = {} if path is None else read_yaml(path) or {}
    if not isinstance(content, dict):
        raise SourceError(f"{path}: expected a mapping of settings")
    given = {name: str(value) for name, value in flags.items() if value is not None}
    sinks = [{"kind": "webhook", "name": f"forward-{n}", "url": url} for n, url in enumerate(forward, 1)]
    if sinks and isinstance(listed := content.get("sinks") or [], list):
        content = {**content, "sinks": [*listed, *sinks]}
    return build_config({**content, **given}, str(path or "options"))
