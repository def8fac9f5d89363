"""A reliability diagram: does what is called 70 % come true in 70 % of the cases?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .look import PALETTE, PAPER, blank, in_one_look, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


@in_one_look
def reliability_diagram(bins: pd.DataFrame) -> go.Figure:
    """Return said probability against the share that was right, with 95 % intervals; honest is the diagonal.

    Parameters
    ----------
    bins
        A row per ranker and bin: ``ranker``, ``said`` (mean probability), ``right`` (share) with its interval ``low``
        and ``high``, ``n`` cases (`hypocenter.analysis.evaluation.tables.bins`).
    """
    figure = blank(420)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="honest", line={"color": PALETTE[5], "dash": "dash"}, hoverinfo="skip"
    )
    for number, (ranker, part) in enumerate(bins.groupby("ranker", sort=False)):
        figure.add_scatter(
            x=part.said,
            y=part.right,
            mode="lines+markers",
            name=plain(ranker, 40),
            line={"color": PALETTE[number % 5], "width": 2},
            marker={
                "symbol": _SYMBOLS[number % len(_SYMBOLS)],
                # The area tells the number of cases.
                "size": np.clip(4 * np.sqrt(part.n.to_numpy(dtype=float)), 8, 30),
                "line": {"width": 1, "color": PAPER},
            },
            error_y={
                "type": "data",
                "symmetric": False,
                "array": part.high - part.right,
                "arrayminus": part.right - part.low,
                "thickness": 1,
            },
            customdata=part.n,
            hovertemplate="said %{x:.0%}, right %{y:.0%} of %{customdata} cases<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%", title={"text": "what the ranking says of its first"})
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%", title={"text": "share that was right"})
    return figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
