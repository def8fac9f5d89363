"""``python -m sample_data.lab``: record incidents of the fault lab."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..__main__ import end
from .faults import KINDS
from .plan import BASELINE_S, FAULT_S, RECOVERY_S, plan

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_Baseline = Annotated[float, typer.Option("--baseline", help="Seconds recorded before the fault.")]
_Fault = Annotated[float, typer.Option("--during", help="Seconds of the fault.")]
_Recovery = Annotated[float, typer.Option("--recovery", help="Seconds recorded after it.")]
_Out = Annotated[Path, typer.Option(help="The folder that gets recordings/<case>/ and CASES.jsonl.")]


@app.callback()
def about() -> None:
    """A shop of 18 services in two languages, the faults put into it, and the recordings of them."""


@app.command()
def record(
    out: _Out,
    fault: Annotated[str, typer.Option(help="A kind (`faults` lists them), or several joined by a plus.")] = "none",
    target: Annotated[str | None, typer.Option(help="What it strikes; by default what the kind names first.")] = None,
    seed: Annotated[int, typer.Option(help="Decides strength, pod and what users do.")] = 1,
    baseline: _Baseline = BASELINE_S,
    during: _Fault = FAULT_S,
    recovery: _Recovery = RECOVERY_S,
    dry_run: Annotated[bool, typer.Option("--plan", help="Print the plan and record nothing.")] = False,
) -> None:
    """Record one incident; the label is printed as JSON."""
    try:
        planned = plan(fault, target, seed, baseline_s=baseline, fault_s=during, recovery_s=recovery)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if dry_run:
        print(json.dumps(planned.label()))
        return
    from ..recorder import progress
    from .recorder import check, running_lab
    from .recorder import record as record_incident

    signal.signal(signal.SIGTERM, end)
    try:
        check(planned)
        with progress() as report, running_lab(seed, report) as lab:
            label = record_incident(lab, planned, out, report)
    except RuntimeError as error:
        typer.echo(f"sample_data.lab: {error}", err=True)
        sys.exit(1)
    print(json.dumps(label))


@app.command()
def grid(
    out: _Out,
    baseline: _Baseline = BASELINE_S,
    during: _Fault = FAULT_S,
    recovery: _Recovery = RECOVERY_S,
    matrix: Annotated[
        str, typer.Option(help="Which incidents: shipped, or further ones of the test half.")
    ] = "shipped",
    part: Annotated[str, typer.Option(help="K/N: the Kth of N labs that share the matrix.")] = "1/1",
) -> None:
    """Record every incident of a matrix that is not there yet; labels are printed as JSON lines."""
    from ..recorder import progress
    from .grid import incidents, part_of, record_all

    signal.signal(signal.SIGTERM, end)
    number, _, parts = part.partition("/")
    try:
        planned = incidents(matrix, baseline_s=baseline, fault_s=during, recovery_s=recovery)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--matrix") from error
    planned = part_of(planned, int(number), int(parts))
    try:
        with progress() as report:
            labels = record_all(out, planned, report)
    except RuntimeError as error:
        typer.echo(f"sample_data.lab: {error}", err=True)
        sys.exit(1)
    for label in labels:
        print(json.dumps(label))


@app.command()
def table(
    cases: Annotated[list[Path], typer.Argument(help="One CASES.jsonl or several.", exists=True, dir_okay=False)],
    ranker: Annotated[list[str] | None, typer.Option(help="A ranking method; repeat for more. By default all.")] = None,
) -> None:
    """Rank recorded incidents and print, by half and kind, what users felt and where each method put the origin."""
    from hypocenter.analysis.ranker import names

    from ..recorder import progress
    from .table import predict, to_markdown

    if unknown := set(ranker or ()) - set(names()):
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(names())}")
    with progress() as report:
        labels, predictions = predict(cases, ranker or names(), report)
    print(to_markdown(labels, predictions), end="")


@app.command()
def faults() -> None:
    """List the kinds of fault, what happens, and what each can strike."""
    for kind in KINDS.values():
        print(f"{kind.name:20} {kind.meaning}; strikes {', '.join(kind.targets) or 'nothing'}")


if __name__ == "__main__":
    app()
