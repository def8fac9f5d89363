"""``hypocenter hook``: between Alertmanager and its receivers, adding where the failure most likely began."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    check: Annotated[bool, typer.Option("--check", help="Check the configuration and its secrets, and end.")] = False,
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
        from ..hook.sinks import create

        for sink in built.sinks:
            create(sink)
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
                typer.echo(f"{letter.path.name}: no sink is named {letter.sink!r}", err=True)
                stopped.add(letter.sink)
                continue
            if dry_run:
                typer.echo(f"{letter.path.name}: {letter.content['reason']}")
                continue
            outgoing = outgoing_of(letter, sink)
            ended = await outward.attempt(sink, outgoing, letter.content["key"]) if outgoing is not None else None
            if ended is None or ended.outcome == "delivered":
                letter.path.unlink()
                typer.echo(f"{letter.path.name}: delivered")
            else:
                typer.echo(f"{letter.path.name}: {ended.reason}", err=True)
                stopped.add(letter.sink)  # later letters must not overtake it
    finally:
        await outward.close()
    return len(stopped)


def _config(path: Path | None, flags: dict[str, Any], forward: list[str]) -> Config:
    """Return the file's configuration with the flags over it."""
    import yaml

    from ..errors import SourceError
    from ..hook.config import build_config

    content: Any = {}
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise SourceError(f"{path}: cannot be read as YAML: {error}") from error
        if not isinstance(content, dict):
            raise SourceError(f"{path}: expected a mapping of settings")
    given = {name: str(value) for name, value in flags.items() if value is not None}
    sinks = [{"kind": "webhook", "name": f"forward-{n}", "url": url} for n, url in enumerate(forward, 1)]
    if sinks:
        content = {**content, "sinks": [*content.get("sinks", []), *sinks]}
    return build_config({**content, **given}, str(path or "options"))
