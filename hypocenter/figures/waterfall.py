"""One trace as bars: who waited for whom, on what the end depends, what failed, and which clocks disagree."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..legible import shortened
from .look import INK, LABEL_LENGTH, NORMAL, SUSPECT, blank, in_one_look, plain, seconds

if TYPE_CHECKING:
    import plotly.graph_objects as go

_BAR_PX, _CHROME_PX = 22, 80
_SKEW_NS = 1_000_000  # clocks of one machine differ by less
_MOST_ROWS = 200
CRITICAL = "#b8860b"


@in_one_look
def waterfall(
    spans: pd.DataFrame,
    suspect: str | None = None,
    until_ms: float | None = None,
    most: int = _MOST_ROWS,
    calls: Collection[str] = (),
) -> go.Figure:
    """Return a trace as bars, a row a span, indented by depth.

    Parameters
    ----------
    spans
        A row a span in the order of drawing, as `hypocenter.graph.one_trace.laid_out` gives it: number, parent (row
        number, -1 for a root), span_id, depth, service, operation, start_ns, duration_ns, is_error, is_critical,
        early_ns.
    suspect
        The service whose bars stand out.
    calls
        Ids of spans that stand out as well: of calls to a suspect that has no spans, or over an edge.
    until_ms
        Length of the time axis, so that two traces can be compared; by default the trace's own.
    most
        Of a longer trace what failed, what the end depends on and the longest spans are shown, with what they are in.

    Notes
    -----
    The line below a bar is the critical path: there the trace's end depended on this span itself, and a gap in it is
    waiting for a callee. ✕ is an error; ⏱ a span that begins before its caller, so clocks disagree by at least as much.
    """
    shown = worth(spans, most)
    start = int(spans.start_ns.min()) if len(spans) else 0
    begin, length = (shown.start_ns - start) / 1e6, shown.duration_ns / 1e6
    stands_out = (shown.service == suspect) | shown.span_id.isin(list(calls))
    figure = blank(_CHROME_PX + _BAR_PX * max(len(shown), 1))
    figure.add_bar(
        base=begin,
        x=length,
        y=list(range(len(shown))),
        orientation="h",
        marker_color=np.where(stands_out, SUSPECT, NORMAL),
        # In black print an outline tells what colour does.
        marker_line={"color": INK, "width": np.where(stands_out, 1.5, 0.0)},
        text=[
            ("✕ " if bad else "") + ("⏱ " if early > _SKEW_NS else "") + seconds(ms / 1e3)
            for bad, early, ms in zip(shown.is_error, shown.early_ns, length, strict=True)
        ],
        textposition="outside",
        textfont_size=11,
        cliponaxis=False,
        customdata=[_hover(row) for row in shown.itertuples()],
        hovertemplate="%{customdata}<br>starts at %{base:.1f} ms, takes %{x:.1f} ms<extra></extra>",
    )
    xs, ys = _critical_lines(spans, shown, start)
    if xs:
        line = {"color": CRITICAL, "width": 3}
        figure.add_scatter(x=xs, y=ys, mode="lines", line=line, name="critical path", hoverinfo="skip")
    figure.update_yaxes(
        range=[len(shown) - 0.4, -0.6],
        tickmode="array",
        tickvals=list(range(len(shown))),
        ticktext=_labels(shown),
        tickfont={"size": 10, "family": "ui-monospace, monospace"},
        showgrid=False,
        zeroline=False,
    )
    reach = until_ms if until_ms is not None else float((begin + length).max() if len(shown) else 1.0)
    left_out = len(spans) - len(shown)
    told = f", {left_out:,} more spans not shown" if left_out else ""
    # Room at the right for the length written after the longest bar.
    figure.update_xaxes(
        range=[min(0.0, float(begin.min()) if len(shown) else 0.0), reach * 1.25],
        title={"text": f"ms since the trace began{told}<br>✕ error, line: critical path"},
    )
    return figure.update_layout(showlegend=False, bargap=0.35, margin_t=16)


def _labels(shown: pd.DataFrame) -> list[str]:
    names = [
        "\N{NO-BREAK SPACE}" * min(depth, 8) + shortened(f"{service} {operation}", LABEL_LENGTH - min(depth, 8))
        for depth, service, operation in zip(shown.depth, shown.service, shown.operation, strict=True)
    ]
    # plotly sets these labels flush right: in a fixed pitch and equally long they show their depth at the left.
    longest = max(map(len, names), default=0)
    return [plain(name.ljust(longest)).replace(" ", "\N{NO-BREAK SPACE}") for name in names]


def _hover(row: object) -> str:
    early_ns: int = getattr(row, "early_ns", 0)
    skew = f"<br>begins {seconds(early_ns / 1e9)} before its caller: clocks disagree" if early_ns > _SKEW_NS else ""
    return f"{plain(getattr(row, 'service', ''), 120)}: {plain(getattr(row, 'operation', ''), 200)}{skew}"


def worth(spans: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the ``most`` spans worth seeing and their callers, in the given order."""
    if len(spans) <= most:
        return spans
    keys = [-spans.duration_ns, ~spans.is_critical, ~spans.is_error, spans.parent >= 0]
    parent = dict(zip(spans.number, spans.parent, strict=True))
    kept: set[int] = set()
    for number in spans.number.to_numpy()[np.lexsort(keys)]:
        above: list[int] = []
        while number >= 0 and number not in kept:
            above.append(int(number))
            number = parent[number]
        if len(kept) + len(above) > most:
            break
        kept.update(above)
    return spans[spans.number.isin(kept)]


def _critical_lines(
    spans: pd.DataFrame, shown: pd.DataFrame, start_ns: int
) -> tuple[list[float | None], list[float | None]]:
    """Return the stretches in which a critical span did not wait for a critical callee, in ms and rows."""
    critical = spans[spans.is_critical]
    below: dict[int, list[tuple[int, int]]] = {}
    for parent, begin, length in zip(critical.parent, critical.start_ns, critical.duration_ns, strict=True):
        below.setdefault(parent, []).append((begin, begin + length))
    xs: list[float | None] = []
    ys: list[float | None] = []
    for place, row in enumerate(shown.itertuples()):
        if not row.is_critical:
            continue
        reached, end = row.start_ns, row.start_ns + row.duration_ns
        for begin, until in [*sorted(below.get(row.number, ())), (end, end)]:
            if begin > reached:
                xs += [(reached - start_ns) / 1e6, (begin - start_ns) / 1e6, None]
                ys += [place + 0.42, place + 0.42, None]
            reached = max(reached, until)
    return xs, ys
