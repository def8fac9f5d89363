"""The one look of all figures: colours that every eye tells apart, on light and on dark paper, text that stays text.

What colour tells is told by a position, a label or a dash too, so that figures can be printed in black. Figures are
drawn for light paper; `ON_DARK` says what stands for a colour on dark paper, here and on pages (``report.js``).
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import pandas as pd

from ..legible import shortened, visible

if TYPE_CHECKING:
    import plotly.graph_objects as go

_Asked = ParamSpec("_Asked")

# At least 3:1 against white and against near-black, and told apart under the usual kinds of colour blindness.
NORMAL, SUSPECT, SECOND, BAND = "#3f88c5", "#d1495b", "#9a7fd1", "rgba(63,136,197,0.18)"
PALETTE = (NORMAL, SUSPECT, SECOND, "#2a9d8f", "#c9822b", "#7c8794")
PATTERNS = ("", "/", ".", "x", "-", "+")
PAPER, INK, LINE = "#ffffff", "#1b2026", "#d9dee4"
# The other of each pair is on dark paper what the first is on light; all other colours are the same on both.
ON_DARK = {
    PAPER: "#14181d",
    INK: "#e6e9ed",
    LINE: "#333b45",
    # Of the map: outlines, healthy and unknown calls, lanes and their names, what lies behind origin and symptom.
    "#3e4c59": "#aab4bf",
    "#93a2b1": "#5f6d7b",
    "#a79db0": "#7d7387",
    "#f4f6f8": "#1a1f26",
    "#eaeff4": "#20262e",
    "#52606d": "#9aa5b1",
    "#ffd166": "#7a5b12",
    "#9ad0f5": "#235c86",
    # Of scales, the milder first: the worse, the farther from the paper.
    "#c08410": "#a87420",
    "#b75d06": "#dd8a35",
    "#a23a06": "#ffb861",
    "#7f2704": "#fff1c9",
    "#6fae93": "#4a7d6b",
    "#2b7fae": "#5cb3d9",
    "#2c5fa8": "#a3cdf5",
    "#17205c": "#eef4ff",
    "#6b7682": "#8e99a5",
    "#2f93b3": "#5cc4e0",
    "#cc4c02": "#f2994a",
    # Few to many in a heatmap (Cividis, which all eyes see alike), little to much in an icicle.
    "#f1db45": "#5b606e",
    "#b1a56f": "#807e76",
    "#777774": "#a79e73",
    "#3f4c6c": "#d3c05e",
    "#00224e": "#fee838",
    "#dbe7f2": "#22354a",
    "#1f6fb2": "#5ba4e3",
}
FEW_TO_MANY = ("#f1db45", "#b1a56f", "#777774", "#3f4c6c", "#00224e")
LITTLE_TO_MUCH = ("#dbe7f2", "#1f6fb2")
_COLOUR, _COLOUR_KEY = re.compile("#[0-9a-f]{6}"), re.compile("color|shadow")
_BLANK = "\N{NO-BREAK SPACE}"
# Beyond this, a name is cut in labels; the hover has all of it.
LABEL_LENGTH = 32


def is_dark() -> bool:
    """Whether figures are dark, as the user's plotly is (``plotly.io.templates.default``)."""
    import plotly.io as pio

    return "dark" in str(pio.templates.default)


def in_one_look(draw: Callable[_Asked, go.Figure]) -> Callable[_Asked, go.Figure]:
    """Have a function that draws for light paper return its figure dark where the user's plotly is."""

    @functools.wraps(draw)
    def drawn(*args: _Asked.args, **kwargs: _Asked.kwargs) -> go.Figure:
        figure = draw(*args, **kwargs)
        return restyle(figure, dark=True) if is_dark() else figure

    return drawn


def blank(height_px: int) -> go.Figure:
    """Return an empty figure in the look, for light paper."""
    import plotly.graph_objects as go

    return go.Figure().update_layout(template=_template(), height=height_px)


def nothing(figure: go.Figure, text: str = "nothing to show") -> go.Figure:
    """Return the figure with words in place of data, and without axes that would lie."""
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return figure.add_annotation(text=text, xref="paper", yref="paper", x=0.5, y=0.5, showarrow=False)


def restyle(figure: go.Figure, *, dark: bool) -> go.Figure:
    """Return a copy of a figure of ours, for light or for dark paper."""
    import plotly.graph_objects as go

    swaps = ON_DARK if dark else {on_dark: on_light for on_light, on_dark in ON_DARK.items()}
    return go.Figure(_recoloured(figure.to_plotly_json(), swaps))


def _recoloured(value: Any, swaps: Mapping[str, str], key: str = "") -> Any:
    """Return part of a figure, its colours swapped. They stand under keys that say so: a name may read like one."""
    if isinstance(value, Mapping):
        return {name: _recoloured(part, swaps, str(name)) for name, part in value.items()}
    if not isinstance(value, str | list | tuple | np.ndarray) or not _COLOUR_KEY.search(key):
        return [_recoloured(part, swaps) for part in value] if isinstance(value, list | tuple) else value
    if isinstance(value, str):
        return _COLOUR.sub(lambda colour: swaps.get(colour[0], colour[0]), value)
    return [_recoloured(part, swaps, key) for part in value]


@functools.cache
def _template() -> go.layout.Template:
    import plotly.graph_objects as go

    axis = {
        "automargin": True,
        "gridcolor": LINE,
        "linecolor": LINE,
        "zerolinecolor": LINE,
        "tickcolor": LINE,
        "title": {"font": {"size": 12}},
    }
    return go.layout.Template(
        layout={
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
            "title": {"font": {"size": 15}, "x": 0, "xref": "paper", "xanchor": "left"},
            "margin": {"l": 8, "r": 8, "t": 48, "b": 60, "pad": 4},
            "colorway": PALETTE,
            "hoverlabel": {"align": "left"},
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def plain(text: object, limit: int | None = None) -> str:
    """Return text that plotly shows as it is: its labels would read ``<a href=...>`` and entities as markup."""
    # Blanks that do not break are ours: they indent.
    shown = _BLANK.join(map(visible, str(text).split(_BLANK)))
    return html.escape(shown if limit is None else shortened(shown, limit), quote=False)


def seconds(value_s: float) -> str:
    """Return a duration with its unit, three digits.

    >>> seconds(0.0123), seconds(4.2e-5), seconds(83)
    ('12.3 ms', '42 µs', '83 s')
    """
    if value_s >= 1:
        return f"{value_s:.3g} s"
    return f"{value_s * 1e3:.3g} ms" if value_s >= 1e-3 or value_s == 0 else f"{value_s * 1e6:.3g} µs"


def at(time_ns: int) -> pd.Timestamp:
    """Return a time for an axis: plotly knows microseconds at best."""
    return pd.Timestamp(time_ns, unit="ns", tz="UTC").floor("us")
