"""The one look of all figures: colours that every eye tells apart, a light and a dark template, text that stays text.

What colour tells is told by a position, a label or a dash too, so that figures can be printed in black.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go

# At least 3:1 against white and against near-black, and told apart under the usual kinds of colour blindness.
NORMAL, SUSPECT, SECOND, BAND = "#3f88c5", "#d1495b", "#9a7fd1", "rgba(63,136,197,0.18)"
PALETTE = (NORMAL, SUSPECT, SECOND, "#2a9d8f", "#c9822b", "#7c8794")
PATTERNS = ("", "/", ".", "x", "-", "+")
LIGHT, DARK = "hypocenter", "hypocenter_dark"
# paper, ink, lines
_SHEETS = {LIGHT: ("#ffffff", "#1b2026", "#d9dee4"), DARK: ("#14181d", "#e6e9ed", "#333b45")}
_BLANKS = "\N{NO-BREAK SPACE}"
# Beyond this, a name is cut in labels; the hover has all of it.
LABEL_LENGTH = 32


def is_dark() -> bool:
    """Whether figures are dark, as the user's plotly is (``plotly.io.templates.default``)."""
    import plotly.io as pio

    return "dark" in str(pio.templates.default)


def blank(height_px: int) -> go.Figure:
    """Return an empty figure in the look, light or dark."""
    import plotly.graph_objects as go
    import plotly.io as pio

    name = DARK if is_dark() else LIGHT
    if name not in pio.templates:
        for known in _SHEETS:
            pio.templates[known] = _template(known)
    return go.Figure().update_layout(template=name, height=height_px)


def nothing(figure: go.Figure, text: str = "nothing to show") -> go.Figure:
    """Return the figure with words in place of data, and without axes that would lie."""
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return figure.add_annotation(text=text, xref="paper", yref="paper", x=0.5, y=0.5, showarrow=False)


def restyle(figure: go.Figure, *, dark: bool) -> go.Figure:
    """Return a copy of a figure of ours, for light or for dark pages."""
    import plotly.graph_objects as go

    copy = go.Figure(figure)
    return copy.update_layout(template=_template(DARK if dark else LIGHT))


def _template(name: str) -> go.layout.Template:
    import plotly.graph_objects as go

    paper, ink, line = _SHEETS[name]
    axis = {
        "automargin": True,
        "gridcolor": line,
        "linecolor": line,
        "zerolinecolor": line,
        "tickcolor": line,
        "title": {"font": {"size": 12}},
    }
    return go.layout.Template(
        layout={
            "paper_bgcolor": paper,
            "plot_bgcolor": paper,
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": ink},
            "margin": {"l": 8, "r": 8, "t": 48, "b": 60, "pad": 4},
            "colorway": PALETTE,
            "hoverlabel": {"align": "left"},
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def plain(text: object, limit: int | None = None) -> str:
    """Return text that plotly shows as it is: its labels would read ``<a href=...>`` and entities as markup."""
    visible = "".join(c if c.isprintable() or c in _BLANKS else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return html.escape(visible if limit is None else shorten(visible, limit), quote=False)


def shorten(text: str, length: int = LABEL_LENGTH) -> str:
    """Return text of at most ``length`` characters, cut with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


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
