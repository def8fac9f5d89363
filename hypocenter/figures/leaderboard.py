"""How often each method is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .look import NORMAL, SECOND, blank, in_one_look, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_ROW_PX, _CHROME_PX = 30, 120


@in_one_look
def leaderboard(board: pd.DataFrame) -> go.Figure:
    """Return AC@1 with its 95 % interval and AC@3 as a hollow mark, a row per method in the table's order.

    Parameters
    ----------
    board
        ``ranker``, ``ac1`` with ``ac1_low`` and ``ac1_high``, ``ac3`` (`hypocenter.analysis.evaluation.tables.board`).
    """
    names = [plain(name) for name in board.ranker]
    figure = blank(_CHROME_PX + _ROW_PX * len(board))
    figure.add_scatter(
        x=board.ac1,
        y=names,
        name="first (AC@1, 95 % interval)",
        mode="markers",
        marker={"color": NORMAL, "size": 10},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": board.ac1_high - board.ac1,
            "arrayminus": board.ac1 - board.ac1_low,
            "color": NORMAL,
        },
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure.add_scatter(
        x=board.ac3,
        y=names,
        name="among the first three (AC@3)",
        mode="markers",
        marker={"color": SECOND, "size": 9, "symbol": "diamond-open", "line_width": 2},
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure.update_xaxes(range=[-0.02, 1.04], title={"text": "share of the faults"}, tickformat=".1f")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    return figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
