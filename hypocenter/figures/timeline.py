"""Time series one above the other on one clock, with the band of the baseline, the onset and changes marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .look import BAND, PALETTE, SUSPECT, at, blank, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_ROW_PX, _CHROME_PX = 130, 70
_PLOT_PX, _NAME_PX = 80, 13  # of a row, about: what its lines have, and what a name takes
# Told apart by more than their colours; the onset's is not among them.
_COLOURS = tuple(colour for colour in PALETTE if colour != SUSPECT)
_LINES = ("solid", "dot", "dash", "dashdot", "longdash")
_NAME_LENGTH = 48
_DASHES = {"onset": "solid", "alert": "dash", "first symptom": "dash"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One row of a timeline: lines by label over ``frame.index`` (UTC times), and where they lay in the baseline."""

    title: str
    frame: pd.DataFrame
    band: tuple[float, float] | None = None
    percent: bool = False


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
                line={"color": _COLOURS[number % len(_COLOURS)], "dash": _LINES[number % len(_LINES)], "width": 2},
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
    return figure.update_layout(hovermode="x unified", margin_t=top_px, height=top_px + 60 + _ROW_PX * count)


def add_marks(figure: go.Figure, marks: Mapping[str, int]) -> None:
    """Draw vertical lines over all rows of a figure, the label of each above: label -> nanoseconds since the epoch."""
    for number, (label, time_ns) in enumerate(sorted(marks.items(), key=lambda mark: (mark[1], mark[0]))):
        figure.add_vline(x=at(time_ns), line={"color": SUSPECT, "width": 1.5, "dash": _DASHES.get(label, "dot")})
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
    """Write each line's name at its last known point, clear of the others: a legend would be far from what it names."""
    highest = max(float(np.nanmax(lines.to_numpy(dtype=float), initial=0.0)), 1e-12)
    last = {name: line.dropna() for name, line in lines.items()}
    ends = sorted((float(line.iloc[-1]), number, line) for number, line in enumerate(last.values()) if len(line))
    free_px = float(-_NAME_PX)
    for value, _, line in ends:
        place_px = _PLOT_PX * value / highest
        free_px = max(place_px, free_px + _NAME_PX)
        figure.add_annotation(
            x=line.index[-1].floor("us"),
            y=value,
            yshift=free_px - place_px,
            text=plain(line.name, _NAME_LENGTH),
            showarrow=False,
            xanchor="right",
            yanchor="bottom",
            font_size=11,
            row=row,
            col=1,
        )
