"""How a failure travels: from where it may have begun, along the calls, to where it hurts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .look import NORMAL, SECOND, SUSPECT, blank, in_one_look, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_FAINT = 0.35


@in_one_look
def propagation_sankey(ways: pd.DataFrame, symptom: str | None = None) -> go.Figure:
    """Return the ways of a failure as a Sankey diagram: origins left, the symptom right, as broad as they are likely.

    Parameters
    ----------
    ways
        A row per step of a candidate's path (`hypocenter.analysis.propagation.ways`): ``source`` (nearer to the
        origin), ``target`` (its caller), ``weight`` (summed probability of the candidates that go this way, above 0),
        ``text`` (how these calls changed, may be empty). Steps in a circle are refused by plotly and must not be there.
    symptom
        Where it hurts; it has a colour of its own.
    """
    names = list(dict.fromkeys([*ways.source, *ways.target]))
    place = {name: i for i, name in enumerate(names)}
    reached = set(ways.target)
    colours = [SECOND if n == symptom else NORMAL if n in reached else SUSPECT for n in names]
    roles = ["symptom" if n == symptom else "on the way" if n in reached else "possible origin" for n in names]
    widest = max(ways.groupby("target").size().max() if len(ways) else 1, 1)
    figure = blank(int(min(700, 70 + 60 * widest)))
    figure.add_sankey(
        node={
            "label": [plain(n, 40) for n in names],
            "color": colours,
            "customdata": roles,
            "hovertemplate": "%{label}: %{customdata}<extra></extra>",
            "pad": 24,
            "thickness": 18,
            "line": {"width": 0},
        },
        link={
            "source": [place[n] for n in ways.source],
            "target": [place[n] for n in ways.target],
            "value": ways.weight.tolist(),
            "color": [_faint(colours[place[n]]) for n in ways.source],
            "customdata": [plain(t) for t in ways.text],
            "hovertemplate": "%{source.label} → %{target.label}: %{value:.0%}<br>%{customdata}<extra></extra>",
        },
    )
    return figure.update_layout(margin={"t": 16, "b": 16, "l": 8, "r": 8})


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{_FAINT})"
