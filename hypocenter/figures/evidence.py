"""A ranking as bars: what speaks for and against each candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..legible import shortened
from .look import LABEL_LENGTH, PALETTE, PATTERNS, blank, in_one_look, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@in_one_look
def evidence_bars(evidence: pd.DataFrame, limit: int = 5) -> go.Figure:
    """Return the evidence of the first ``limit`` candidates in nats, for to the right and against to the left of 0.

    Parameters
    ----------
    evidence
        A row per finding in the ranking's order (a candidate without any has one row with a missing score): ``rank``,
        ``entity``, ``chance`` (text, may be empty), ``kind``, ``score`` in nats, ``text``.

    Notes
    -----
    Rows go from the top, each with its probability; one colour and pattern a kind of evidence.
    """
    shown = evidence[evidence["rank"] <= limit]
    heads = shown.drop_duplicates("rank")
    names = {
        rank: plain(f"{rank}. {shortened(entity, LABEL_LENGTH)}") + (f" <b>{chance}</b>" if chance else "")
        for rank, entity, chance in zip(heads["rank"], heads.entity, heads.chance, strict=True)
    }
    figure = blank(110 + 34 * max(len(names), 1))
    scored = shown[shown.score.fillna(0) != 0]
    for number, (kind, part) in enumerate(scored.groupby("kind", sort=True)):
        figure.add_bar(
            x=part.score,
            y=part["rank"].map(names),
            name=plain(kind),
            orientation="h",
            marker_color=PALETTE[number % len(PALETTE)],
            marker_pattern_shape=PATTERNS[number % len(PATTERNS)],
            hovertext=[plain(text) for text in part.text],
            hovertemplate="%{hovertext}<br>%{x:+.1f} nats<extra>%{fullData.name}</extra>",
        )
    figure.update_yaxes(categoryorder="array", categoryarray=list(names.values())[::-1])
    figure.update_xaxes(title={"text": "nats (right: for, left: against)"}, zeroline=True)
    return figure.update_layout(barmode="relative", legend={"orientation": "h", "y": 1.12, "yanchor": "bottom"})
