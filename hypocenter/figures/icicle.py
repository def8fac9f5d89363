"""Where the time goes over many traces: their call trees laid over each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .look import LITTLE_TO_MUCH, PAPER, blank, in_one_look, plain, seconds

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_ROOT = "all"


@in_one_look
def icicle(paths: pd.DataFrame, title: str | None = None) -> go.Figure:
    """Return the trees as an icicle, callers above; the width is time, darker the more is its own; a click zooms in.

    Parameters
    ----------
    paths
        A row per distinct path, in any order (`hypocenter.graph.flame.paths`): ``path`` (unique number), ``parent``
        (number of the caller's path, -1 for an entry), ``service``, ``operation``, ``count`` spans, ``total_s`` (time
        in it and below), ``self_s`` (what no callee explains), ``errors`` spans.
    """
    share = (paths.self_s / paths.total_s.where(paths.total_s > 0)).fillna(0.0).clip(0, 1)
    text = [
        f"{plain(r.service, 80)}: {plain(r.operation, 120)}<br>{r.count:,} spans, {r.errors:,} with errors"
        f"<br>{seconds(r.total_s / r.count)} each, of its own {seconds(r.self_s / r.count)}"
        for r in paths.itertuples()
    ]
    figure = blank(480)
    figure.add_icicle(
        ids=[_ROOT, *paths.path.astype(str)],
        parents=["", *(_ROOT if parent < 0 else str(parent) for parent in paths.parent)],
        labels=["all traces", *(plain(f"{r.service} {r.operation}", 60) for r in paths.itertuples())],
        # What runs at once adds up: a caller is as wide as its own time and all below it, maybe more than it took.
        values=[0.0, *paths.self_s],
        branchvalues="remainder",
        marker={
            "colors": [0.0, *share],
            "colorscale": LITTLE_TO_MUCH,
            "cmin": 0,
            "cmax": 1,
            "line": {"width": 1, "color": PAPER},
            "colorbar": {"title": {"text": "own time", "side": "right"}, "tickformat": ".0%", "thickness": 12},
        },
        text=["", *text],
        textinfo="label",
        hovertemplate="%{text}<br>%{percentRoot:.1%} of all time<extra></extra>",
        tiling={"orientation": "v"},
        maxdepth=12,
        sort=True,
    )
    # A name that does not fit is left out; the hover has it.
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    return figure.update_layout(title={"text": plain(title, 200)} if title else None, margin_t=48 if title else 12)
