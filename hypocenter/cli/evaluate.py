"""``hypocenter evaluate``: how often each ranker names the true origin of labelled incidents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .answers import Output

if TYPE_CHECKING:
    from ..analysis.evaluation.cases import Derive, LabelledCase
    from ..analysis.evaluation.runner import Prediction
    from ..analysis.evaluation.scoring import Score

# Every table carries the two floors, whatever was asked for.
_FLOORS = ("random", "max-z")
_OWN = "hypocenter"


def evaluate(
    cases: Annotated[Path, typer.Argument(help="Labelled incidents, a JSON line each.", exists=True, dir_okay=False)],
    root: Annotated[
        Path | None, typer.Option(help="What the paths are relative to; by default the file's folder.")
    ] = None,
    ranker: Annotated[list[str] | None, typer.Option(help="A ranking method; repeat for more. By default all.")] = None,
    alert_offset: Annotated[float, typer.Option(help="Seconds by which the alert is late (or early, below 0).")] = 0.0,
    predictions: Annotated[Path | None, typer.Option(help="Write a JSON line per case and ranker here.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the leaderboard as one HTML file here.")] = None,
    by: Annotated[Literal["system", "fault-type"], typer.Option(help="What has a row of its own.")] = "system",
    quiet: Annotated[
        bool, typer.Option("--quiet-windows", help="Add false alarms: in baselines, and before faults that have none.")
    ] = False,
    drop_spans: Annotated[float, typer.Option(help="Share of spans to lose, 0 to 1.")] = 0.0,
    draw: Annotated[int, typer.Option(help="Seed of which spans are lost.")] = 0,
    without: Annotated[
        list[str] | None, typer.Option(help="Take away traces, metrics, logs or service=NAME; repeat for more.")
    ] = None,
    rename: Annotated[
        int | None, typer.Option("--rename-services", help="Give services opaque names, drawn by this seed.")
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="Also: alert times wrong by up to 300 s, spans, modalities and the origin's own missing."
        ),
    ] = False,
    output: Output = "text",
) -> None:
    """Rank labelled incidents with every method and print how often each names the true origin."""
    from ..analysis.evaluation.runner import run

    # Ranking takes minutes to hours, so what cannot be written is told before.
    for option, path in (("--predictions", predictions), ("--report", report)):
        if path is not None and not path.parent.is_dir():
            raise typer.BadParameter(f"no such folder: {path.parent}", param_hint=option)
    changes = _changes(without or (), drop_spans, draw)
    chosen = _chosen(ranker)
    labelled = _derived(_labelled(cases, root), quiet, changes, rename)
    with _Bar("evaluating", len(labelled)) as bar:
        found = list(run(labelled, chosen, alert_offset, bar))
    swept = _swept(labelled, found, ranker or [_OWN]) if sweep else []
    if predictions is not None:
        lines = [json.dumps(p.to_dict(), ensure_ascii=False) for p in found]
        predictions.write_text("\n".join([*lines, ""]), encoding="utf-8")
    failures = sorted(
        {f"{p.ranking.ranker}: {p.case.name}: {p.ranking.error}" for p in found if p.ranking.outcome == "failed"}
    )
    for failure in failures[:20]:
        typer.echo(f"failed: {failure}", err=True)
    _show(found, swept, by, output)
    if report is not None:
        said = _conditions(alert_offset, drop_spans, without or (), quiet, rename)
        typer.echo(str(_write(report, found, swept, chosen[0], said)), err=True)


def _changes(without: Sequence[str], drop_spans: float, draw: int) -> list[Derive]:
    from ..analysis.evaluation import derive

    try:
        changes = [derive.without(modality) for modality in without]
        return [*changes, derive.drop_spans(drop_spans, draw)] if drop_spans else changes
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--without / --drop-spans") from error


def _derived(
    labelled: list[LabelledCase], quiet: bool, changes: Sequence[Derive], rename: int | None
) -> list[LabelledCase]:
    """Return the cases with false alarms among them, with less telemetry, and with opaque names, as far as asked."""
    from ..analysis.evaluation import derive
    from ..analysis.evaluation.rename import renamed

    found = [*labelled, *derive.quiet_cases(labelled)] if quiet else labelled
    found = [derive.derived(case, changes) for case in found] if changes else found
    return found if rename is None else [renamed(case, rename) for case in found]


def _chosen(asked: Sequence[str] | None) -> list[str]:
    from ..analysis.ranker import names

    known = names()
    for name in asked or ():
        if name not in known:
            raise typer.BadParameter(f"unknown ranker {name!r}; known: {', '.join(known)}", param_hint="--ranker")
    return list(dict.fromkeys([*(asked or known), *_FLOORS]))


def _labelled(cases: Path, root: Path | None) -> list[LabelledCase]:
    from ..analysis.evaluation.cases import read_cases

    labelled = read_cases(cases, root)
    if root is None and labelled and not _first_path_exists(labelled[0].root, labelled[0].inputs):
        typer.echo(f"paths are not below {cases.parent}; trying its parent folder", err=True)
        labelled = read_cases(cases, cases.resolve().parent.parent)
    return labelled


def _first_path_exists(root: Path, inputs: Any) -> bool:
    listed = [path for paths in inputs["paths"].values() for path in ([paths] if isinstance(paths, str) else paths)]
    return not listed or (root / listed[0]).exists()


def _swept(labelled: Sequence[LabelledCase], found: Sequence[Prediction], rankers: Sequence[str]) -> list[Score]:
    """Return a row per condition and ranker, first the cases as they were evaluated."""
    from ..analysis.evaluation.scoring import score
    from ..analysis.evaluation.sweep import conditions, sweep

    asked = conditions()
    by_condition: dict[str, list[Prediction]] = {condition.name: [] for condition in asked}
    with _Bar("sweeping", len(labelled) * len(asked)) as bar:
        for condition, prediction in sweep(labelled, rankers, asked, bar):
            by_condition[condition.name].append(prediction)
    groups = {"as recorded": list(found)} | by_condition
    return [
        score(name, ranker, part)
        for name, predictions in groups.items()
        for ranker in rankers
        if (part := [p for p in predictions if p.ranking.ranker == ranker and p.case.answers is not None])
    ]


def _show(found: Sequence[Prediction], swept: Sequence[Score], by: str, output: str) -> None:
    from ..analysis.evaluation.calibration import calibrate
    from ..analysis.evaluation.granularity import score_granularity
    from ..analysis.evaluation.scoring import score_all
    from . import evaluate_tables as tables

    scores = score_all(found, by="system" if by == "system" else "fault_type")
    calibrations, levels = calibrate(found), score_granularity(found)
    if output == "json":
        shown = {
            "scores": [tables.to_json(row) for row in scores],
            "calibration": [tables.to_json(row) for row in calibrations],
            "granularity": [tables.to_json(row) for row in levels],
            "sweep": [tables.to_json(row) for row in swept],
        }
        typer.echo(json.dumps(shown, indent=2, allow_nan=False))
        return
    if not scores:
        typer.echo("no case carries a label; only predictions were made", err=True)
        return
    tables.print_scores(scores, by)
    tables.print_granularity(levels)
    if swept:
        tables.print_sweep(swept)
    tables.print_calibration(calibrations)


def _conditions(alert_offset: float, drop_spans: float, without: Sequence[str], quiet: bool, rename: int | None) -> str:
    said = [f"The alert is {alert_offset:+g} s off."] if alert_offset else []
    said += [f"{drop_spans:.0%} of the spans are lost."] if drop_spans else []
    said += ["Services have opaque names."] if rename is not None else []
    said += [f"Without {', '.join(without)}."] if without else []
    said += ["False alarms in what is quiet are added."] if quiet else []
    return " ".join(said)


def _write(path: Path, found: Sequence[Prediction], swept: Sequence[Score], subject: str, said: str) -> Path:
    from ..report.leaderboard import Table, write_leaderboard
    from .evaluate_tables import SWEPT
    from .evaluate_tables import swept as rows

    more = [Table("Under worse conditions", SWEPT, tuple(rows(swept)), headings=2)] if swept else []
    try:
        return write_leaderboard(path, found, subject, said, more)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {path}: {error.strerror}", param_hint="--report") from error


class _Bar:
    """A progress bar on stderr that is called with the number done and what is at work."""

    def __init__(self, what: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, what: str) -> None:
        self._progress.update(self._task, completed=done, description=what)
