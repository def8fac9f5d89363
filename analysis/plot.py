"""Figures of an incident in plotly, one look: evidence bars, timelines, trace waterfalls; each from a table.

Figures are transparent and carry no colour for text, so that a page may set its own for light and dark. What colour
tells is told by a position, a label or a dash too.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .ranking import Candidate

# At least 3:1 against white and against near-black, and told apart under the usual kinds of colour blindness.
NORMAL, SUSPECT, SECOND, BAND = "#3f88c5", "#d1495b", "#9a7fd1", "rgba(63,136,197,0.18)"
_ROW_PX, _BAR_PX, _CHROME_PX = 130, 22, 70
_LABEL_LENGTH = 32
_DASHES = {"onset": "solid", "alert": "dash", "first symptom": "dash"}
_BLANKS = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Panel:
    """One row of a timeline: lines by label over ``frame.index`` (UTC times), and where they lay in the baseline."""

    title: str
    frame: pd.DataFrame
    band: tuple[float, float] | None = None
    percent: bool = False


def plain(text: object) -> str:
    """Return text that plotly shows as it is: its labels would read ``<a href=...>`` and entities as markup."""
    visible = "".join(c if c.isprintable() or c in _BLANKS else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return html.escape(visible, quote=False)


def evidence_bars(candidates: Sequence[Candidate], limit: int = 5) -> go.Figure:
    """Return the evidence of the first ``limit`` candidates in nats, for to the right and against to the left of 0.

    Rows are in the ranking's order, from the top; one colour a kind of evidence.
    """
    shown = list(candidates[:limit])
    rows = [
        (f"{rank}. {_shorten(c.entity)}", e.kind, e.score, e.text)
        for rank, c in enumerate(shown, 1)
        for e in (*c.evidence_for, *c.evidence_against)
        if e.score
    ]
    frame = pd.DataFrame(rows, columns=["candidate", "kind", "score", "text"])
    figure = empty_figure(_CHROME_PX + 40 + 34 * max(len(shown), 1))
    palette = (NORMAL, SUSPECT, SECOND, "#2a9d8f", "#e09f3e", "#8d99ae")
    for number, (kind, part) in enumerate(frame.groupby("kind", sort=True)):
        figure.add_bar(
            x=part.score,
            y=[plain(name) for name in part.candidate],
            name=plain(kind),
            orientation="h",
            marker_color=palette[number % len(palette)],
            marker_pattern_shape=("", "/", ".", "x", "-", "+")[number % 6],
            hovertext=[plain(text) for text in part.text],
            hovertemplate="%{hovertext}<br>%{x:+.1f} nats<extra>%{fullData.name}</extra>",
        )
    names = [plain(f"{rank}. {_shorten(c.entity)}") for rank, c in enumerate(shown, 1)]
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], automargin=True)
    figure.update_xaxes(title={"text": "nats (right: for, left: against)", "font_size": 12}, zeroline=True)
    return figure.update_layout(barmode="relative", legend={"orientation": "h", "y": 1.12, "yanchor": "bottom"})


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
        figure=empty_figure(_CHROME_PX + _ROW_PX * count),
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
                line={"color": (NORMAL, SECOND)[number % 2], "dash": ("solid", "dot")[number % 2], "width": 2},
                # Unknown is not zero: a gap in the data stays a gap in the line.
                connectgaps=False,
                showlegend=False,
                row=row,
                col=1,
            )
            if len(panel.frame.columns) > 1:
                _name_line(figure, panel.frame[name], row, below=number > 0)
        if panel.band is not None:
            low, high = panel.band
            figure.add_hrect(y0=low, y1=high, fillcolor=BAND, line_width=0, layer="below", row=row, col=1)
        figure.update_yaxes(**_scale(panel), nticks=4, automargin=True, row=row, col=1)
    for number, (label, time_ns) in enumerate(sorted(marks.items(), key=lambda mark: (mark[1], mark[0]))):
        at = pd.Timestamp(time_ns, unit="ns", tz="UTC").floor("us")
        figure.add_vline(x=at, line={"color": SUSPECT, "width": 1.5, "dash": _DASHES.get(label, "dot")})
        figure.add_annotation(
            x=at,
            y=1,
            yref="paper",
            # Marks are often seconds apart: each label has a line of its own.
            yshift=26 + 14 * number,
            text=plain(label),
            showarrow=False,
            font_size=12,
        )
    top_px = 48 + 14 * len(marks)
    return figure.update_layout(hovermode="x unified", margin_t=top_px, height=top_px + 60 + _ROW_PX * count)


def _scale(panel: Panel) -> dict[str, Any]:
    highest = float(np.nanmax(panel.frame.to_numpy(dtype=float), initial=0.0))
    if panel.percent:
        # A flat line of zeros must not fill an axis up to 100 %.
        return {"range": [0, max(1.15 * highest, 0.1)], "tickformat": ".0%"}
    return {"rangemode": "tozero", "tickformat": "~s" if highest >= 10_000 else "~g"}


def _name_line(figure: go.Figure, line: pd.Series, row: int, *, below: bool) -> None:
    """Write the line's name at its last known point: a legend would be far from what it names."""
    known = line.dropna()
    if len(known):
        figure.add_annotation(
            x=known.index[-1].floor("us"),
            y=float(known.iloc[-1]),
            text=plain(line.name),
            showarrow=False,
            xanchor="right",
            yanchor="top" if below else "bottom",
            font_size=11,
            row=row,
            col=1,
        )


def waterfall(spans: pd.DataFrame, suspect: str | None = None, until_ms: float | None = None) -> go.Figure:
    """Return a trace as bars, a row a span, indented by depth.

    Parameters
    ----------
    spans
        Columns span_id, parent_span_id, service, operation, start_ns, duration_ns, is_error.
    suspect
        The service whose bars stand out.
    until_ms
        Length of the time axis, so that two traces can be compared; by default the trace's own.

    Notes
    -----
    A span whose parent is absent is drawn as a root. An error is marked with ✕, not by colour alone.
    """
    ordered = _in_tree_order(spans)
    start = int(ordered.start_ns.min()) if len(ordered) else 0
    begin = (ordered.start_ns - start) / 1e6
    length = ordered.duration_ns / 1e6
    names = [
        "\N{NO-BREAK SPACE}" * min(depth, 8) + _shorten(f"{service} {operation}", _LABEL_LENGTH - min(depth, 8))
        for depth, service, operation in zip(ordered.depth, ordered.service, ordered.operation, strict=True)
    ]
    # plotly sets these labels flush right: in a fixed pitch and equally long they show their depth at the left.
    longest = max(map(len, names), default=0)
    labels = [plain(name).replace(" ", "\N{NO-BREAK SPACE}") for name in (n.ljust(longest) for n in names)]
    figure = empty_figure(_CHROME_PX + _BAR_PX * max(len(ordered), 1))
    figure.add_bar(
        base=begin,
        x=length,
        y=list(range(len(ordered))),
        orientation="h",
        marker_color=np.where(ordered.service == suspect, SUSPECT, NORMAL),
        text=[f"{'✕ ' if bad else ''}{_milliseconds(ms)}" for bad, ms in zip(ordered.is_error, length, strict=True)],
        textposition="outside",
        textfont_size=11,
        cliponaxis=False,
        customdata=[f"{plain(s)}: {plain(o)}" for s, o in zip(ordered.service, ordered.operation, strict=True)],
        hovertemplate="%{customdata}<br>starts at %{base:.1f} ms, takes %{x:.1f} ms<extra></extra>",
    )
    figure.update_yaxes(
        autorange="reversed",
        tickmode="array",
        tickvals=list(range(len(ordered))),
        ticktext=labels,
        tickfont={"size": 10, "family": "ui-monospace, monospace"},
        automargin=True,
        showgrid=False,
    )
    reach = until_ms if until_ms is not None else float((begin + length).max() if len(ordered) else 1.0)
    # Room at the right for the length written after the longest bar.
    figure.update_xaxes(range=[0, reach * 1.25], title={"text": "ms since the trace began (✕ error)", "font_size": 12})
    return figure.update_layout(showlegend=False, bargap=0.35)


def _in_tree_order(spans: pd.DataFrame) -> pd.DataFrame:
    """Return the rows depth first, children by start, with a column depth."""
    rows: dict[str, Any] = {str(row.span_id): row for row in spans.itertuples(index=False)}
    children: dict[str | None, list[str]] = {}
    for span_id, row in rows.items():
        known = isinstance(row.parent_span_id, str) and row.parent_span_id in rows and row.parent_span_id != span_id
        children.setdefault(row.parent_span_id if known else None, []).append(span_id)
    order: list[tuple[str, int]] = []
    pending = [(span_id, 0) for span_id in _by_start(children.get(None, []), rows)]
    while pending:
        span_id, depth = pending.pop()
        order.append((span_id, depth))
        pending += [(child, depth + 1) for child in _by_start(children.get(span_id, []), rows)]
    # Spans whose parents run in a circle hang from no root; they are shown all the same.
    reached = {span_id for span_id, _ in order}
    order += [(span_id, 0) for span_id in rows if span_id not in reached]
    indexed = spans.assign(span_id=spans.span_id.astype(str)).drop_duplicates("span_id").set_index("span_id")
    depths = pd.DataFrame(order, columns=["span_id", "depth"]).set_index("span_id")
    return indexed.loc[depths.index].assign(depth=depths.depth).reset_index()


def _by_start(span_ids: list[str], rows: dict[str, Any]) -> list[str]:
    # Latest first: the list is a stack.
    return sorted(span_ids, key=lambda span_id: (rows[span_id].start_ns, span_id), reverse=True)


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.3g} ms"


def _shorten(text: str, length: int = _LABEL_LENGTH) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def empty_figure(height_px: int) -> go.Figure:
    """Return a figure without data in the look of all of them: transparent, its text without colour."""
    import plotly.graph_objects as go

    figure = go.Figure()
    return figure.update_layout(
        template="none",
        height=height_px,
        margin={"l": 8, "r": 8, "t": 48, "b": 60, "pad": 4},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
        xaxis={"automargin": True},
        yaxis={"automargin": True},
    )
