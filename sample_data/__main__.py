"""``python -m sample_data record``: record an incident of the shop."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .faults import KINDS
from .plan import plan

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def about() -> None:
    """A shop of real processes, the faults put into it, and the recordings of them."""


@app.command()
def record(
    out: Annotated[Path, typer.Option(help="The folder that gets incidents/<case>/ and CASES.jsonl.")],
    fault: Annotated[str, typer.Option(help=f"One of {', '.join(KINDS)}.")] = "none",
    target: Annotated[str | None, typer.Option(help="What it strikes; by default what the fault names first.")] = None,
    seed: Annotated[int, typer.Option(help="Decides pods, strength and what users do.")] = 1,
    warmup: Annotated[float, typer.Option(help="Seconds of load before the recording.")] = 20,
    baseline: Annotated[float, typer.Option(help="Seconds recorded before the fault.")] = 120,
    during: Annotated[float, typer.Option(help="Seconds of the fault.")] = 90,
    recovery: Annotated[float, typer.Option(help="Seconds recorded after it.")] = 0,
    users: Annotated[int, typer.Option(help="Concurrent users.")] = 8,
    think: Annotated[float, typer.Option(help="Mean seconds between two requests of a user.")] = 2.0,
) -> None:
    """Record one incident; the label is printed as JSON."""
    import json

    from .postgres import PostgresMissing
    from .recorder import progress
    from .recorder import record as record_plan

    try:
        chosen = plan(
            fault,
            target,
            seed,
            warmup_s=warmup,
            baseline_s=baseline,
            during_s=during,
            recovery_s=recovery,
            users=users,
            think_s=think,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    signal.signal(signal.SIGTERM, end)
    try:
        with progress() as report:
            label = record_plan(chosen, out, report)
    except (PostgresMissing, RuntimeError) as error:
        typer.echo(f"sample_data: {error}", err=True)
        sys.exit(1)
    print(json.dumps(label))


@app.command()
def faults() -> None:
    """List the kinds of fault and what each can strike."""
    for kind in KINDS.values():
        print(f"{kind.name:16} {kind.meaning}; strikes {', '.join(kind.targets) or 'nothing'}")


def end(_number: int, _frame: object) -> NoReturn:
    """End like Ctrl-C: the recorder's contexts stop every process and remove every file."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    app()
