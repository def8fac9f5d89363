"""The page of an evaluation: how often each method was right, how honest its probabilities are, and what it missed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.evaluation.calibration import Calibration, calibrate
from ..analysis.evaluation.granularity import score_granularity
from ..analysis.evaluation.scoring import Score, score_all
from ..analysis.evaluation.tables import bins, board, by_accuracy
from ..figures import leaderboard, reliability_diagram
from .answer import name_of, percent
from .drawing import Drawing, drawing_scripts
from .environment import policy
from .html import pages

if TYPE_CHECKING:
    from ..analysis.evaluation.runner import Prediction

_MISSES = 200


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` as text, the first ``headings`` cells of each say what it is about; ``caption`` is read aloud too."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    headings: int = 1


def write_leaderboard(
    path: Path, predictions: Sequence[Prediction], subject: str, said: str = "", more: Sequence[Table] = ()
) -> Path:
    """Write the page to ``path`` and return it; an existing file is replaced.

    ``subject`` is the ranker whose misses are listed, ``said`` how the cases were run, ``more`` what else was measured.
    Everything from the cases is escaped, and the page loads nothing.
    """
    scores = score_all(predictions)
    overall = [s for s in scores if s.group == "all"]
    calibrations = calibrate(predictions)
    mine = next((s for s in overall if s.ranker == subject), None)
    scripts = drawing_scripts() if overall else []
    html = (
        pages()
        .get_template("leaderboard.html")
        .render(
            headline=_headline(mine, subject),
            counts=_counts(predictions),
            said=said,
            subject=subject,
            board=_board(overall) if overall else None,
            tables=(*_by_system(scores), *_by_fault_type(predictions)),
            levels=_levels(predictions),
            more=more,
            honest=[_honest(row) for row in calibrations],
            calibration=_calibration(calibrations),
            specificity=_specificity(overall),
            cost=_cost(overall),
            misses=_misses(predictions, subject),
            policy=policy(scripts),
            scripts=scripts,
        )
    )
    path.write_text(html, encoding="utf-8")
    return path


def share(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """Return a share with its interval, a dash where it is unknown.

    >>> share(0.5, (0.2, 0.8)), share(None)
    ('0.50 [0.20, 0.80]', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2f}" if interval is None else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _headline(row: Score | None, subject: str) -> str:
    if row is None:
        return "No case carries a label"
    if not row.n:
        return f"{subject}: {_number(row.no_fault, 'window', ' without a fault')}"
    return f"{subject} names the true origin first in {row.ac[1]:.0%} of {_number(row.n, 'fault')}"


def _counts(predictions: Sequence[Prediction]) -> str:
    cases = {id(p.case): p.case for p in predictions}.values()
    faults, quiet = sum(bool(c.answers) for c in cases), sum(c.answers == frozenset() for c in cases)
    blind = len(cases) - faults - quiet
    parts = [_number(faults, "labelled fault"), _number(quiet, "window", " without a fault")]
    parts += [f"{blind} without a label, not scored"] if blind else []
    return f"{', '.join(parts)}; systems: {', '.join(dict.fromkeys(c.system for c in cases))}"


def _number(n: int, what: str, more: str = "") -> str:
    return f"{n} {what}{'' if n == 1 else 's'}{more}"


def _board(overall: Sequence[Score]) -> Drawing:
    return Drawing(
        "leaderboard",
        "Share of faults whose true origin each method names first, and among the first three.",
        "All methods over all cases",
        leaderboard(board(overall)),
        *_rows(overall),
    )


def _rows(scores: Sequence[Score]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    columns = ("Method", "AC@1", "AC@3", "AC@5", "Avg@5", "MRR", "n", "no origin", "not applicable", "failed")
    rows = tuple(
        (
            s.ranker,
            *(share(s.ac[k], s.ac_interval[k]) for k in (1, 3, 5)),
            share(s.avg5, s.avg5_interval),
            share(s.mrr, s.mrr_interval),
            *map(str, (s.n, s.no_origin, s.not_applicable, s.failed)),
        )
        for s in by_accuracy(scores)
    )
    return columns, rows


def _by_system(scores: Sequence[Score]) -> list[Table]:
    systems = [g for g in dict.fromkeys(s.group for s in scores) if g != "all"]
    parts = [(name, [s for s in scores if s.group == name and s.n]) for name in systems]
    return [Table(f"System {name}", *_rows(part)) for name, part in parts if part]


def _by_fault_type(predictions: Sequence[Prediction]) -> list[Table]:
    scores = [s for s in score_all(predictions, by="fault_type") if s.n]
    rankers = [s.ranker for s in by_accuracy([s for s in scores if s.group == "all"])]
    groups: dict[str, dict[str, Score]] = {}
    for s in scores:
        groups.setdefault(s.group, {})[s.ranker] = s
    rows = tuple(
        (kind, str(next(iter(row.values())).n), *(share(row[r].ac[1], row[r].ac_interval[1]) for r in rankers))
        for kind, row in groups.items()
    )
    return [Table("AC@1 by fault type", ("Fault type", "n", *rankers), rows)] if rows else []


def _levels(predictions: Sequence[Prediction]) -> Table:
    rows = tuple(
        (s.level, s.ranker, str(s.n), *(share(s.ac[k], s.ac_interval[k]) for k in (1, 3)))
        for s in score_granularity(predictions)
        if s.level == "service" or s.ac[3] > 0
    )
    return Table("By granularity", ("Level", "Method", "n", "AC@1", "AC@3"), rows, headings=2)


def _honest(row: Calibration) -> Drawing:
    caption = f"{row.ranker}: said and came true, {row.n} cases in {len(row.bins)} bins of equal mass"
    rows = tuple((percent(said), f"{true:.0%}", str(n)) for said, true, n in row.bins)
    name = f"reliability-{row.ranker}"
    return Drawing(name, caption, caption, reliability_diagram(bins([row])), ("Said", "Came true", "Cases"), rows)


def _calibration(rows: Sequence[Calibration]) -> Table:
    told = tuple((r.ranker, str(r.n), f"{r.error:.3f}", f"{r.brier:.3f}") for r in rows)
    return Table("Calibration", ("Method", "Cases", "Mean absolute error", "Brier score"), told)


def _specificity(overall: Sequence[Score]) -> Table:
    rows = tuple(
        (s.ranker, share(s.specificity, s.specificity_interval), str(s.no_fault)) for s in overall if s.no_fault
    )
    return Table("Answers of “no clear origin” where nothing was wrong", ("Method", "Specificity", "Windows"), rows)


def _cost(overall: Sequence[Score]) -> Table:
    rows = tuple(
        (
            s.ranker,
            f"{s.median_seconds:.2f}",
            f"{s.max_seconds:.2f}",
            f"{s.peak_rss_bytes / 2**20:,.0f}" if s.peak_rss_bytes else "unknown",
        )
        for s in sorted(overall, key=lambda s: s.median_seconds)
    )
    return Table("Cost per case", ("Method", "Median s", "Slowest s", "Peak memory, MiB"), rows)


def _misses(predictions: Sequence[Prediction], subject: str) -> list[dict[str, Any]]:
    """Return the cases in which the first place of ``subject`` is not a true origin, in the order of the cases."""
    found = []
    for p in predictions:
        if p.ranking.ranker != subject or p.case.answers is None or _right(p):
            continue
        first = p.ranking.candidates[0] if p.ranking.candidates else None
        found.append(
            {
                "case": p.case.name,
                "system": p.case.system,
                "fault_type": p.case.fault_type,
                "truth": ", ".join(sorted(p.case.answers)) or "nothing was wrong",
                "said": _said(p, first),
                "place": _place(p),
                "why": first.evidence_for[0].text if first and first.evidence_for else "",
            }
        )
    return found[:_MISSES]


def _right(p: Prediction) -> bool:
    if not p.case.answers:
        return p.ranking.outcome == "no-origin"
    return p.ranking.outcome == "ranked" and p.ranking.candidates[0].service in p.case.answers


def _said(p: Prediction, first: Any) -> str:
    if p.ranking.outcome in ("failed", "not-applicable") or first is None:
        return f"{p.ranking.outcome.replace('-', ' ')}: {p.ranking.error or 'no candidate'}"
    chance = "" if first.probability is None else f", {percent(first.probability)}"
    named = f"{name_of(first)}{chance}"
    return f"no clear origin; first of the order is {named}" if p.ranking.outcome == "no-origin" else named


def _place(p: Prediction) -> str:
    """Return the place of the first true origin among the services, a dash where it is not listed or not there."""
    services = [name for name, _ in p.ranking.services()]
    places = [services.index(answer) + 1 for answer in p.case.answers or () if answer in services]
    return str(min(places)) if places else "-"
