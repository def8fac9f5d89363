"""Durations over time as a heatmap, with a region picked out of it, and what its spans have that the others lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .look import FEW_TO_MANY, NORMAL, SUSPECT, at, blank, in_one_look, nothing, plain, seconds

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_COLUMNS, _ROWS_A_DECADE = 80, 8


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a heatmap: starts in ``[since_ns, until_ns)``, durations in ``[shortest_s, longest_s)``."""

    since_ns: int
    until_ns: int
    shortest_s: float = 0.0
    longest_s: float = float("inf")


@in_one_look
def latency_heatmap(
    spans: pd.DataFrame, region: Region | None = None, title: str | None = None, what: str = "spans"
) -> go.Figure:
    """Return how many took how long when: time to the right, duration upwards on a log scale, the stronger the more.

    Parameters
    ----------
    spans
        A row a span: ``start_ns``, ``duration_ns``, ``is_error``. A bar on top of the map tells the errors of a column.
    region
        Drawn as a rectangle.
    what
        What a row is, for the scale.
    """
    figure = blank(430)
    if not len(spans):
        return nothing(figure)
    starts = spans.start_ns.to_numpy(dtype=np.int64)
    # What took no time at all stands in the lowest row.
    took = np.log10(np.maximum(spans.duration_ns.to_numpy(dtype=float), 1e3) / 1e9)
    low, high = np.floor(took.min() * _ROWS_A_DECADE), np.floor(took.max() * _ROWS_A_DECADE) + 1
    rows = np.arange(low, high + 1) / _ROWS_A_DECADE
    step_ns = max(1, -(-(int(starts.max()) + 1 - int(starts.min())) // _COLUMNS))
    column = (starts - starts.min()) // step_ns
    count, _, _ = np.histogram2d(took, column, bins=(rows, np.arange(_COLUMNS + 1)))
    count, failed = count[:, : column.max() + 1], np.bincount(column[spans.is_error.to_numpy(dtype=bool)])
    times = [at(int(starts.min() + (i + 0.5) * step_ns)) for i in range(count.shape[1])]
    middles = 10 ** ((rows[:-1] + rows[1:]) / 2)
    words = [f"{seconds(10**a)} to {seconds(10**b)}" for a, b in pairwise(rows)]
    figure.add_heatmap(
        x=times,
        y=middles,
        z=np.where(count > 0, np.log10(np.maximum(count, 1)), np.nan),
        customdata=np.dstack([count, np.array(words)[:, None].repeat(count.shape[1], axis=1)]),
        colorscale=FEW_TO_MANY,
        hovertemplate="%{x|%H:%M:%S}: %{customdata[0]} " + what + " of %{customdata[1]}<extra></extra>",
        colorbar=_counts(int(count.max()), what),
    )
    figure.update_yaxes(type="log", title={"text": "duration"}, **_ticks(rows[0], rows[-1]))
    _add_errors(figure, times, failed, middles[-1] * 1.6)
    if region is not None:
        figure.add_shape(
            type="rect",
            x0=at(max(region.since_ns, int(starts.min()))),
            x1=at(min(region.until_ns, int(starts.max()) + 1)),
            y0=max(region.shortest_s, 10 ** rows[0]),
            y1=min(region.longest_s, 10 ** rows[-1]),
            line={"color": SUSPECT, "width": 3},
        )
    figure.update_layout(title={"text": plain(title, 200)} if title else None, margin_t=48 if title else 12)
    return figure.update_layout(dragmode="select", showlegend=False)


def _add_errors(figure: go.Figure, times: Sequence[object], failed: np.ndarray, height_s: float) -> None:
    """Mark the columns in which something failed."""
    marked = np.flatnonzero(failed)
    if len(marked):
        figure.add_scatter(
            x=[times[int(i)] for i in marked],
            y=[height_s] * len(marked),
            mode="text",
            text="✕",
            textfont_color=SUSPECT,
            hovertext=[f"{failed[i]:,} errors" for i in marked],
            hoverinfo="text",
        )


def _counts(most: int, what: str) -> dict[str, object]:
    numbers = sorted({*(10**d for d in range(len(str(max(most, 1))))), max(most, 1)})
    ticks = {"tickvals": list(np.log10(numbers)), "ticktext": [f"{n:,}" for n in numbers]}
    return {"title": {"text": what, "side": "right"}, "thickness": 12, **ticks}


def _ticks(low: float, high: float) -> dict[str, object]:
    decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    steps = (1, 2, 5) if high - low < 2 else (1,)
    values = [step * 10.0**decade for decade in decades for step in steps]
    return {"tickvals": values, "ticktext": [seconds(value) for value in values]}


@in_one_look
def contrast_bars(contrast: pd.DataFrame, most: int = 12) -> go.Figure:
    """Return the share of spans that have an attribute's value, inside a region beside outside, most different first.

    Parameters
    ----------
    contrast
        A row per attribute and value, in order (`hypocenter.analysis.contrast.contrast`): ``attribute``, ``value``,
        ``inside`` and ``outside`` as shares.
    """
    top = contrast.head(most)
    names = [f"<b>{plain(r.attribute, 32)}</b><br>{plain(r.value, 32)}" for r in top.itertuples()]
    figure = blank(110 + 40 * max(len(top), 1))
    # Bars of a group are drawn from below.
    for side, colour, pattern in (("outside", NORMAL, "/"), ("inside", SUSPECT, "")):
        figure.add_bar(
            x=top[side],
            y=names,
            orientation="h",
            name=f"{side} the region",
            marker_color=colour,
            marker_pattern_shape=pattern,
            hovertemplate="%{y}<br>%{x:.1%} of the spans<extra>%{fullData.name}</extra>",
        )
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%", title={"text": "share of the spans"})
    return figure.update_layout(
        barmode="group", legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "traceorder": "reversed"}
    )
