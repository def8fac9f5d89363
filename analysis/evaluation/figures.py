"""Figures of an evaluation in plotly: how often each ranker is right, and whether probabilities are honest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hypocenter.figures.look import NORMAL, SECOND, SUSPECT, blank, plain

from .calibration import Calibration
from .scoring import Score, wilson

if TYPE_CHECKING:
    import plotly.graph_objects as go

_ROW_PX, _CHROME_PX = 30, 120
_SQUARE_PX = 420


def leaderboard(scores: Sequence[Score]) -> go.Figure:
    """Return AC@1 with its 95 % interval and AC@3 as a hollow mark, a row per ranker, the best at the top."""
    ordered = by_accuracy(scores)
    names = [plain(s.ranker) for s in ordered]
    at_1 = [s.ac[1] for s in ordered]
    figure = blank(_CHROME_PX + _ROW_PX * len(ordered))
    figure.add_scatter(
        x=at_1,
        y=names,
        name="first (AC@1, 95 % interval)",
        mode="markers",
        marker={"color": NORMAL, "size": 10},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [s.ac_interval[1][1] - s.ac[1] for s in ordered],
            "arrayminus": [s.ac[1] - s.ac_interval[1][0] for s in ordered],
            "color": NORMAL,
        },
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure.add_scatter(
        x=[s.ac[3] for s in ordered],
        y=names,
        name="among the first three (AC@3)",
        mode="markers",
        marker={"color": SECOND, "size": 9, "symbol": "diamond-open", "line_width": 2},
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure.update_xaxes(range=[-0.02, 1.04], title={"text": "share of the faults", "font_size": 12}, tickformat=".1f")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], automargin=True)
    return figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})


def by_accuracy(scores: Sequence[Score]) -> list[Score]:
    """Return the rows from the best to the worst: by AC@1, then Avg@5, then name; unknown last."""

    def known(value: float) -> float:
        return -1.0 if math.isnan(value) else value

    return sorted(scores, key=lambda s: (-known(s.ac[1]), -known(s.avg5), s.ranker))


def reliability(row: Calibration) -> go.Figure:
    """Return what was said against what came true by bin, with 95 % intervals; on the diagonal it is honest."""
    said, true, n = zip(*row.bins, strict=True)
    intervals = [wilson(share, count) for share, count in zip(true, n, strict=True)]
    figure = blank(_SQUARE_PX)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": SUSPECT, "dash": "dot", "width": 1.5}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=said,
        y=true,
        mode="lines+markers",
        line={"color": NORMAL, "width": 2},
        marker={"color": NORMAL, "size": 9},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - share for share, (_, high) in zip(true, intervals, strict=True)],
            "arrayminus": [share - low for share, (low, _) in zip(true, intervals, strict=True)],
            "color": NORMAL,
        },
        customdata=n,
        hovertemplate="said %{x:.0%}, came true %{y:.0%}, n = %{customdata}<extra></extra>",
    )
    axis = {"range": [-0.02, 1.04], "tickformat": ".0%", "dtick": 0.2}
    figure.update_xaxes(**axis, title={"text": "probability said", "font_size": 12})
    figure.update_yaxes(**axis, title={"text": "share that came true", "font_size": 12}, automargin=True)
    return figure.update_layout(showlegend=False, margin_t=16)
