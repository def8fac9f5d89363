"""The answer for a terminal: what somebody just woken needs, first things first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..legible import visible
from .answer import answer, certainty_of, doubts, grouped, name_of, percent, runners_up

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from ..analysis.case import Case
    from ..analysis.ranking import Ranking


def to_text(ranking: Ranking, case: Case | None = None) -> Group:
    """Return the answer as something that rich prints: a headline and rows of label and content, wrapped.

    Telemetry is shown as it is: no markup in it is read, and control characters, such as those that move a terminal's
    cursor, are replaced.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    told = answer(ranking, case)
    answered = ranking.outcome in ("ranked", "no-origin") and bool(ranking.candidates)
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="cyan", no_wrap=True)
    rows.add_column(overflow="fold")
    named = ranking.outcome == "ranked" and answered
    _add(rows, "how sure" if named else "because", certainty_of(ranking) if named else told.certainty)
    if answered:
        _add(rows, "when", told.since)
        if told.where:
            _add(rows, "where in it", told.where)
        for step in told.steps:
            _add(rows, step.role.lower(), f"{step.entity}: {step.fact}")
        if named:
            _add_evidence(rows, ranking)
        _add_runners_up(rows, ranking)
    _add(rows, "not checked", *ranking.not_checked)
    _add(rows, "look at", *told.look_at)
    _add(rows, "run", *told.commands)
    return Group(Text(visible(told.headline), style="bold"), rows)


def _add_evidence(rows: Table, ranking: Ranking) -> None:
    first = ranking.candidates[0]
    if len(first.path) > 1:
        _add(rows, "path", " → ".join(first.path))
    _add(rows, "evidence", *(f"{e.text}  [{e.kind}, {e.score:+.1f} nats]" for e in first.evidence_for))
    _add(rows, "against it", *grouped(first.evidence_against))


def _add_runners_up(rows: Table, ranking: Ranking) -> None:
    from rich.padding import Padding
    from rich.text import Text

    others = runners_up(ranking)
    first_rank = ranking.candidates.index(others[0]) + 1 if others else 1
    label = "or else" if ranking.outcome == "ranked" else "perhaps"
    for rank, candidate in enumerate(others, first_rank):
        chance = "" if candidate.probability is None else f", {percent(candidate.probability)}"
        _add(rows, label if rank == first_rank else "", f"{rank}. {name_of(candidate)}{chance}")
        rows.add_row("", Padding(Text(visible(doubts(candidate))), (0, 0, 0, 3)))


def _add(rows: Table, label: str, *contents: str) -> None:
    from rich.text import Text

    for number, content in enumerate(contents):
        rows.add_row("" if number else label, Text(visible(content)))
