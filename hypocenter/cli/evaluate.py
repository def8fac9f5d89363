"""``hypocenter evaluate``: how often each ranker names the true origin of labelled incidents."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..analysis.evaluation.calibration import Calibration
    from ..analysis.evaluation.scoring import Score

# Every table carries the two floors, whatever was asked for.
_FLOORS = ("random", "max-z")


def evaluate(
    cases: Annotated[Path, typer.Argument(help="Labelled incidents, a JSON line each.", exists=True, dir_okay=False)],
    root: Annotated[
        Path | None, typer.Option(help="What the paths are relative to; by default the file's folder.")
    ] = None,
    ranker: Annotated[list[str] | None, typer.Option(help="A ranking method; repeat for more. By default all.")] = None,
    alert_offset: Annotated[float, typer.Option(help="Seconds by which the alert is late (or early, below 0).")] = 0.0,
    predictions: Annotated[Path | None, typer.Option(help="Write a JSON line per case and ranker here.")] = None,
    by: Annotated[str, typer.Option(help="A row per system or per fault-type.")] = "system",
    quiet: Annotated[
        bool, typer.Option("--quiet-windows", help="Add false alarms in the baseline recordings.")
    ] = False,
    drop_spans: Annotated[float, typer.Option(help="Share of spans to lose, 0 to 1.")] = 0.0,
    without: Annotated[
        list[str] | None, typer.Option(help="Take away traces, metrics, logs or service=NAME; repeat for more.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="text or json")] = "text",
) -> None:
    """Rank labelled incidents with every method and print how often each names the true origin."""
    from rich.console import Console
    from rich.progress import Progress

    from ..analysis.evaluation import derive
    from ..analysis.evaluation.calibration import calibrate
    from ..analysis.evaluation.cases import read_cases
    from ..analysis.evaluation.runner import run
    from ..analysis.evaluation.scoring import score_all
    from ..analysis.ranker import names

    if output not in ("text", "json"):
        raise typer.BadParameter(f"expected text or json, not {output!r}", param_hint="-o")
    if by not in ("system", "fault-type"):
        raise typer.BadParameter(f"expected system or fault-type, not {by!r}", param_hint="--by")
    try:
        changes = [derive.without(modality) for modality in without or ()]
        changes += [derive.drop_spans(drop_spans)] if drop_spans else []
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--without / --drop-spans") from error
    known = names()
    asked = ranker or known
    for name in asked:
        if name not in known:
            raise typer.BadParameter(f"unknown ranker {name!r}; known: {', '.join(known)}", param_hint="--ranker")
    chosen = list(dict.fromkeys([*asked, *_FLOORS]))
    labelled = read_cases(cases, root)
    if root is None and labelled and not _first_path_exists(labelled[0].root, labelled[0].inputs):
        typer.echo(f"paths are not below {cases.parent}; trying its parent folder", err=True)
        labelled = read_cases(cases, cases.resolve().parent.parent)
    if quiet:
        labelled += list(derive.quiet_cases(labelled))
    if changes:
        labelled = [derive.derived(case, changes) for case in labelled]
    found = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("evaluating", total=len(labelled))
        for prediction in run(
            labelled, chosen, alert_offset, lambda i, n: bar.update(task, completed=i, description=n)
        ):
            found.append(prediction)
    if predictions is not None:
        lines = [json.dumps(p.to_dict(), ensure_ascii=False) for p in found]
        predictions.write_text("\n".join([*lines, ""]), encoding="utf-8")
    scores = score_all(found, by="system" if by == "system" else "fault_type")
    calibrations = calibrate(found)
    failures = sorted(
        {f"{p.ranking.ranker}: {p.case.name}: {p.ranking.error}" for p in found if p.ranking.outcome == "failed"}
    )
    for failure in failures[:20]:
        typer.echo(f"failed: {failure}", err=True)
    if output == "json":
        shown = {
            "scores": [_to_json(row) for row in scores],
            "calibration": [_to_json(row) for row in calibrations],
        }
        typer.echo(json.dumps(shown, indent=2, allow_nan=False))
    elif scores:
        _print_table(scores, by)
        _print_calibration(calibrations)
    else:
        typer.echo("no case carries a label; only predictions were made", err=True)


def _first_path_exists(root: Path, inputs: Any) -> bool:
    listed = [path for paths in inputs["paths"].values() for path in ([paths] if isinstance(paths, str) else paths)]
    return not listed or (root / listed[0]).exists()


def _to_json(score: Score | Calibration) -> dict[str, Any]:
    from dataclasses import asdict

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return {key: clean(value) for key, value in asdict(score).items()}


def _print_table(scores: list[Score], by: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        caption="[95 % interval]; failed, not applicable and no origin count as wrong; forced scores the order that a "
        "no-origin keeps",
    )
    shares = ("AC@1", "AC@3", "AC@5", "Avg@5", "MRR", "forced@1", "forced Avg", "specificity")
    for heading in (by, "ranker"):
        table.add_column(heading, no_wrap=True)
    for heading in ("n", *shares, "quiet", "n/a", "failed", "median s"):
        table.add_column(heading, justify="right", no_wrap=True)

    def share(value: float | None, interval: tuple[float, float] | None) -> str:
        if value is None or math.isnan(value) or interval is None:
            return "-"
        return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"

    def plain(value: float) -> str:
        return "-" if math.isnan(value) else f"{value:.2f}"

    group = None
    for s in scores:
        if group not in (None, s.group):
            table.add_section()
        table.add_row(
            "" if group == s.group else s.group,
            s.ranker,
            str(s.n),
            *(share(s.ac[k], s.ac_interval[k]) for k in (1, 3, 5)),
            share(s.avg5, s.avg5_interval),
            share(s.mrr, s.mrr_interval),
            plain(s.forced_ac[1]),
            plain(s.forced_avg5),
            share(s.specificity, s.specificity_interval),
            str(s.no_fault),
            str(s.not_applicable),
            str(s.failed),
            f"{s.median_seconds:.2f}",
        )
        group = s.group
    Console(width=None if sys.stdout.isatty() else 250).print(table)


def _print_calibration(rows: list[Calibration]) -> None:
    for row in rows:
        bins = ", ".join(f"{said:.2f} -> {true:.2f} ({n})" for said, true, n in row.bins)
        typer.echo(
            f"{row.ranker}: probability said -> came true (n): {bins}; error {row.error:.2f}, Brier {row.brier:.2f}"
        )
