"""Time series one above the other on one clock, with the band of the baseline, the onset and changes marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .look import BAND, PALETTE, SUSPECT, at, blank, in_one_look, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_ROW_PX, _CHROME_PX = 130, 70
_PLOT_PX, _NAME_PX, _NAME_FONT_PX = 80, 13, 11  # of a row, about: what its lines have, and what a name takes
# Told apart by more than their colours; the onset's is not among them.
_COLOURS = tuple(colour for colour in PALETTE if colour != SUSPECT)
_LINES = ("solid", "dot", "dash", "dashdot", "longdash")
_NAME_LENGTH = 40
_DASHES = {"onset": "solid", "alert": "dash", "first symptom": "dash"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One row of a timeline: lines by label over ``frame.index`` (UTC times), and where they lay in the baseline."""

    title: str
    frame: pd.DataFrame
    band: tuple[float, float] | None = None
    percent: bool = False


@in_one_look
def timeline(panels: Sequence[Panel], marks: Mapping[str, int]) -> go.Figure:
    """Return the panels one above the other on one clock; ``marks`` are vertical lines: label -> nanoseconds.

    The shaded band of a panel is where its first line lay before the onset. Without panels the figure is empty.
    """
    from plotly.subplots import make_subplots

    count = max(len(panels), 1)
    figure = make_subplots(
        rows=count,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.32 / count,
        subplot_titles=[plain(p.title) for p in panels] or None,
        figure=blank(_CHROME_PX + _ROW_PX * count),
    )
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    for row, panel in enumerate(panels, 1):
        for number, name in enumerate(panel.frame.columns):
            figure.add_scatter(
                # plotly knows microseconds at best
                x=panel.frame.index.floor("us"),
                y=panel.frame[name],
                name=plain(name),
                mode="lines+markers" if len(panel.frame) < 40 else "lines",
                marker_size=4,
                line={"color": _colour(number), "dash": _LINES[number % len(_LINES)], "width": 2},
                # Unknown is not zero: a gap in the data stays a gap in the line.
                connectgaps=False,
                showlegend=False,
                row=row,
                col=1,
            )
        if len(panel.frame.columns) > 1:
            _name_lines(figure, panel.frame, row)
        if panel.band is not None:
            low, high = panel.band
            figure.add_hrect(y0=low, y1=high, fillcolor=BAND, line_width=0, layer="below", row=row, col=1)
        figure.update_yaxes(**_scale(panel), nticks=4, automargin=True, row=row, col=1)
    add_marks(figure, marks)
    top_px = 48 + 14 * len(marks)
    return figure.update_layout(
        hovermode="x unified",
        margin_t=top_px,
        margin_r=_room_px(panels),
        height=top_px + 60 + _ROW_PX * count,
    )


def add_marks(figure: go.Figure, marks: Mapping[str, int]) -> None:
    """Draw vertical lines over all rows of a figure, the label of each above: label -> nanoseconds since the epoch."""
    for number, (label, time_ns) in enumerate(sorted(marks.items(), key=lambda mark: (mark[1], mark[0]))):
        line = {"color": SUSPECT, "width": 1.5, "dash": _DASHES.get(label, "dot")}
        # Below, so that words on bars stay readable.
        figure.add_vline(x=at(time_ns), line=line, layer="below")
        figure.add_annotation(
            x=at(time_ns),
            y=1,
            yref="paper",
            # Marks are often seconds apart: each label has a line of its own.
            yshift=26 + 14 * number,
            text=plain(label),
            showarrow=False,
            font_size=12,
        )


def _scale(panel: Panel) -> dict[str, Any]:
    highest = float(np.nanmax(panel.frame.to_numpy(dtype=float), initial=0.0))
    if panel.percent:
        # A flat line of zeros must not fill an axis up to 100 %.
        return {"range": [0, max(1.15 * highest, 0.1)], "tickformat": ".0%"}
    return {"rangemode": "tozero", "tickformat": "~s" if highest >= 10_000 else "~g"}


def _name_lines(figure: go.Figure, lines: pd.DataFrame, row: int) -> None:
    """Write each line's name beside the plot, as high as it ends and clear of the others."""
    highest = max(float(np.nanmax(lines.to_numpy(dtype=float), initial=0.0)), 1e-12)
    last = [line.dropna() for _, line in lines.items()]
    ends = sorted((float(line.iloc[-1]), number) for number, line in enumerate(last) if len(line))
    free_px = float(-_NAME_PX)
    for value, number in ends:
        place_px = _PLOT_PX * value / highest
        free_px = max(place_px, free_px + _NAME_PX)
        figure.add_annotation(
            x=1,
            xref="paper",
            y=value,
            yref="y" if row == 1 else f"y{row}",
            yshift=free_px - place_px,
            text=f'<span style="color:{_colour(number)}">━</span> {plain(lines.columns[number], _NAME_LENGTH)}',
            showarrow=False,
            xanchor="left",
            font_size=_NAME_FONT_PX,
        )


def _room_px(panels: Sequence[Panel]) -> float:
    """Return how wide the names beside the plots are, about."""
    names = [str(name) for panel in panels if len(panel.frame.columns) > 1 for name in panel.frame.columns]
    longest = max((min(len(name), _NAME_LENGTH) for name in names), default=-2)
    return 8 + (longest + 2) * 0.62 * _NAME_FONT_PX


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
