"""Rankers judged on labelled incidents, for people: how often each is right, and how honest its probabilities are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from .analysis.evaluation.runner import Prediction


def evaluate(
    cases: Path | str,
    rankers: Sequence[str] = ("hypocenter",),
    root: Path | str | None = None,
    *,
    alert_offset_s: float = 0.0,
    limit: int | None = None,
) -> Evaluation:
    """Rank labelled incidents and return how the rankings fare.

    Parameters
    ----------
    cases
        A file with a JSON line per incident (docs/howto/evaluate.md).
    rankers
        Methods by name; `hypocenter evaluate --help` lists them.
    root
        What the paths in the file are relative to; None: the folder of the file.
    alert_offset_s
        Seconds by which the alert is late, below 0 early.
    limit
        Only the first so many cases.

    Raises
    ------
    CaseError
        The file holds no case, or one that cannot be read.
    ValueError
        An unknown ranker.
    """
    from .analysis.evaluation.cases import read_cases
    from .analysis.evaluation.runner import run
    from .errors import CaseError

    labelled = read_cases(Path(cases), None if root is None else Path(root))[:limit]
    if not labelled:
        raise CaseError(f"{cases}: no case in it; docs/howto/evaluate.md shows what a line holds")
    return Evaluation(tuple(run(labelled, list(rankers), alert_offset_s)))


@dataclass(frozen=True)
class Evaluation:
    """What rankers said of labelled incidents; it shows itself as a table of methods."""

    predictions: tuple[Prediction, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return a row per method, the best first (`hypocenter.analysis.evaluation.tables.BOARD`)."""
        from .analysis.evaluation.scoring import score_all
        from .analysis.evaluation.tables import board

        return board([s for s in score_all(self.predictions) if s.group == "all"])

    def cases(self) -> pd.DataFrame:
        """Return a row per incident and method: what was true, what was said, and the probability of it.

        ``is_right`` says whether the first candidate's service is a true origin, or on a window without a fault whether
        none was named; it is missing where the label is.
        """
        import pandas as pd

        rows = []
        for p in self.predictions:
            first = p.ranking.candidates[0] if p.ranking.candidates and p.ranking.outcome == "ranked" else None
            true = p.case.answers
            said = None if first is None else first.service
            right = None if true is None else (said in true if true else said is None)
            named = None if true is None else ", ".join(sorted(true)) or "no fault"
            chance = None if first is None else first.probability
            rows.append((p.case.name, p.case.fault_type, p.ranking.ranker, named, said, chance, right, p.seconds))
        columns = ["case", "fault_type", "ranker", "true", "said", "probability", "is_right", "seconds"]
        return pd.DataFrame(rows, columns=columns).astype({"is_right": "boolean", "probability": float})

    def figure(self) -> go.Figure:
        """Return how often each method is right."""
        from .figures import leaderboard

        return leaderboard(self.to_frame())

    def reliability(self) -> go.Figure:
        """Return whether what is called 70 % comes true in 70 % of the cases, by method."""
        from .analysis.evaluation.calibration import calibrate
        from .analysis.evaluation.tables import bins
        from .figures import reliability_diagram

        return reliability_diagram(bins(calibrate(self.predictions)))

    def report(self, path: Path | str) -> Path:
        """Write the page of the evaluation to ``path`` and return it; the first method's misses are listed."""
        from .report.leaderboard import write_leaderboard

        return write_leaderboard(Path(path), self.predictions, self.predictions[0].ranking.ranker)

    def __repr__(self) -> str:
        names = dict.fromkeys(p.ranking.ranker for p in self.predictions)
        return f"<{', '.join(names)} on {len({id(p.case) for p in self.predictions}):,} incidents>"

    def _repr_html_(self) -> str:
        return str(self.to_frame().round(3).to_html(index=False, escape=True, border=0))
