"""The tables that ``hypocenter evaluate`` prints."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from ..report.leaderboard import share
from .text import left_out, terminal_width, too_many

if TYPE_CHECKING:
    from ..analysis.evaluation.calibration import Calibration
    from ..analysis.evaluation.granularity import GranularityScore
    from ..analysis.evaluation.scoring import Score

# What a narrow terminal does without, the least missed first.
_SPARE = (
    *("forced Avg", "forced@1", "peak MiB", "MRR", "AC@5", "quiet", "median s", "AC@3", "n/a", "specificity", "failed"),
    "Avg@5",
)


def to_json(row: Score | Calibration | GranularityScore) -> dict[str, Any]:
    """Return a row as JSON: keys are text, what is unknown is null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return {key: clean(value) for key, value in asdict(row).items()}


def print_scores(scores: Sequence[Score], by: str) -> None:
    """Print a row per group and ranker."""
    before = [None, *(s.group for s in scores)]
    columns = {
        by: [s.group if s.group != last else "" for s, last in zip(scores, before, strict=False)],
        "ranker": [s.ranker for s in scores],
        "n": [str(s.n) for s in scores],
        **{f"AC@{k}": [share(s.ac[k], s.ac_interval[k]) for s in scores] for k in (1, 3, 5)},
        "Avg@5": [share(s.avg5, s.avg5_interval) for s in scores],
        "MRR": [share(s.mrr, s.mrr_interval) for s in scores],
        "forced@1": [share(s.forced_ac[1]) for s in scores],
        "forced Avg": [share(s.forced_avg5) for s in scores],
        "specificity": [share(s.specificity, s.specificity_interval) for s in scores],
        "quiet": [str(s.no_fault) for s in scores],
        "n/a": [str(s.not_applicable) for s in scores],
        "failed": [str(s.failed) for s in scores],
        "median s": [f"{s.median_seconds:.2f}" for s in scores],
        "peak MiB": [f"{s.peak_rss_bytes / 2**20:,.0f}" if s.peak_rss_bytes else "-" for s in scores],
    }
    width = terminal_width()
    gone = too_many(columns, spare=_SPARE, width=width and width - 4, gap=3)
    forced = "" if "forced@1" in gone else "; forced scores the order that a no-origin keeps"
    notes = [f"[95 % interval]; failed, not applicable and no origin count as wrong{forced}"]
    table = Table(box=box.SIMPLE_HEAD, caption="\n".join([*notes, *([left_out(gone)] if gone else [])]))
    shown = {heading: cells for heading, cells in columns.items() if heading not in gone}
    for heading in shown:
        table.add_column(heading, justify="left" if heading in (by, "ranker") else "right", no_wrap=True)
    for number, row in enumerate(zip(*shown.values(), strict=True)):
        if row[0] and number:
            table.add_section()
        table.add_row(*row)
    _print(table)


def print_granularity(rows: Sequence[GranularityScore]) -> None:
    """Print how often each ranker named the service, its pod, the edge, the change and the indicator."""
    table = Table(box=box.SIMPLE_HEAD, caption="of the cases whose label tells the level; [95 % interval]")
    for heading in ("level", "ranker"):
        table.add_column(heading, no_wrap=True)
    for heading in ("n", "AC@1", "AC@3"):
        table.add_column(heading, justify="right", no_wrap=True)
    level = None
    for row in rows:
        if level not in (None, row.level):
            table.add_section()
        shares = (share(row.ac[k], row.ac_interval[k]) for k in (1, 3))
        table.add_row("" if level == row.level else row.level, row.ranker, str(row.n), *shares)
        level = row.level
    _print(table)


def print_sweep(scores: Sequence[Score]) -> None:
    """Print a row per condition and ranker with what it costs against the first one."""
    table = Table(box=box.SIMPLE_HEAD, caption="lost: AC@1 as recorded less AC@1 here; [95 % interval]")
    for heading in ("condition", "ranker"):
        table.add_column(heading, no_wrap=True)
    for heading in SWEPT[2:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in swept(scores):
        table.add_row(*row)
    _print(table)


SWEPT = ("Condition", "Method", "n", "AC@1", "lost", "AC@3", "Avg@5", "specificity", "not applicable", "failed")


def swept(scores: Sequence[Score]) -> list[tuple[str, ...]]:
    """Return the rows of the sweep as text, in the columns ``SWEPT``."""
    recorded = {s.ranker: s.ac[1] for s in reversed(scores)}  # the first row of each ranker is as recorded
    return [
        (
            s.group,
            s.ranker,
            str(s.n),
            share(s.ac[1], s.ac_interval[1]),
            share(recorded[s.ranker] - s.ac[1]),
            share(s.ac[3], s.ac_interval[3]),
            share(s.avg5, s.avg5_interval),
            share(s.specificity, s.specificity_interval),
            str(s.not_applicable),
            str(s.failed),
        )
        for s in scores
    ]


def print_calibration(rows: Sequence[Calibration]) -> None:
    """Print a line per ranker: what it said, and how often that came true."""
    for row in rows:
        bins = ", ".join(f"{said:.2f} -> {true:.2f} ({n})" for said, true, n in row.bins)
        typer.echo(
            f"{row.ranker}: probability said -> came true (n): {bins}; error {row.error:.2f}, Brier {row.brier:.2f}"
        )


def _print(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 260).print(table)
