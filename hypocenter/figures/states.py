"""What happened when: the states of objects as bars, events as points, on one clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from .look import LABEL_LENGTH, NORMAL, PAPER, SECOND, SUSPECT, blank, in_one_look, nothing, plain
from .timeline import add_marks

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_LANES = 40


@in_one_look
def state_timeline(
    states: pd.DataFrame, events: pd.DataFrame, marks: Mapping[str, int] | None = None, most: int = _MOST_LANES
) -> go.Figure:
    """Return objects as lanes: their states as bars (bad ones hatched), what happened to them as points.

    Parameters
    ----------
    states
        A row per stretch (`hypocenter.graph.kubernetes_states.stretches`): ``object``, ``state``, ``start``, ``end``
        (UTC), ``is_bad``. May be empty.
    events
        A row per event: ``time`` (UTC), ``object`` (its lane), ``text``. May be empty.
    marks
        Vertical lines: label -> nanoseconds since the epoch.
    most
        Lanes at most: those with a bad state first, then those with the most events.
    """
    bad = states[states.is_bad].object.value_counts()
    weight = events.object.value_counts().add(bad * 1000, fill_value=0).add(states.object.value_counts(), fill_value=0)
    ordered = weight.sort_index().sort_values(ascending=False, kind="stable")
    lanes = list(ordered.index[:most])
    names = {lane: plain(lane, 48) for lane in lanes}
    figure = blank(110 + 26 * max(len(lanes), 1))
    _add_states(figure, states[states.object.isin(lanes)], names)
    _add_events(figure, events[events.object.isin(lanes)], names)
    figure.update_yaxes(categoryorder="array", categoryarray=[names[lane] for lane in lanes][::-1])
    figure.update_xaxes(type="date")
    # A word that does not fit its bar is left to the hover.
    figure.update_layout(uniformtext={"minsize": 9, "mode": "hide"})
    add_marks(figure, marks or {})
    if not lanes:
        nothing(figure)
    left_out = f"{len(ordered) - len(lanes):,} quieter objects not shown" if len(ordered) > len(lanes) else None
    top_px = 48 + 14 * len(marks or {})
    figure.update_layout(barmode="overlay", bargap=0.3, margin_t=top_px, height=top_px + 80 + 26 * max(len(lanes), 1))
    figure.update_xaxes(title={"text": left_out} if left_out else None)
    return figure.update_layout(
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}, margin_b=80
    )


def _add_states(figure: go.Figure, shown: pd.DataFrame, names: Mapping[str, str]) -> None:
    for is_bad, colour, pattern, name in ((False, NORMAL, "", "as it should be"), (True, SUSPECT, "/", "not well")):
        part = shown[shown.is_bad == is_bad]
        if len(part):
            figure.add_bar(
                base=part.start.dt.floor("us"),
                x=(part.end - part.start) / pd.Timedelta(milliseconds=1),
                y=part.object.map(names),
                orientation="h",
                name=name,
                marker={
                    "color": colour,
                    # The hatching lies on the colour, so that the words on it stay readable.
                    "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": "#000000", "fgopacity": 0.25},
                    "line": {"width": 1, "color": PAPER},
                },
                text=[plain(state, LABEL_LENGTH) for state in part.state],
                # In the middle, since events often lie where a state begins.
                textposition="inside",
                insidetextanchor="middle",
                customdata=part.state.map(plain),
                hovertemplate="%{y}: %{customdata}<br>since %{base}<extra></extra>",
            )


def _add_events(figure: go.Figure, told: pd.DataFrame, names: Mapping[str, str]) -> None:
    if told.empty:
        return
    figure.add_scatter(
        x=told.time.dt.floor("us"),
        y=told.object.map(names),
        mode="markers",
        name="event",
        marker={"symbol": "diamond", "size": 9, "color": SECOND, "line": {"width": 1, "color": PAPER}},
        hovertext=[plain(text, 200) for text in told.text],
        hovertemplate="%{x|%H:%M:%S} %{hovertext}<extra>%{y}</extra>",
    )
