"""Figures of an incident: the data they carry, and that text from telemetry stays text."""

from __future__ import annotations

import pandas as pd
import small_incident as small

from hypocenter.analysis.plot import Panel, evidence_bars, plain, timeline, waterfall


def spans(*rows: tuple[str, str | None, str, int, int, bool]) -> pd.DataFrame:
    columns = ["span_id", "parent_span_id", "service", "start_ns", "duration_ns", "is_error"]
    return pd.DataFrame(rows, columns=columns).assign(operation="op")


def labels(figure: object) -> list[str]:
    return [text.replace("\u00a0", " ").rstrip() for text in figure.layout.yaxis.ticktext]  # type: ignore[attr-defined]


def test_waterfall_goes_depth_first_and_children_by_start() -> None:
    frame = spans(
        ("c", "a", "cart", 5, 2, False),
        ("a", None, "web", 0, 9, False),
        ("d", "b", "db", 2, 1, True),
        ("b", "a", "pay", 1, 3, False),
    )
    figure = waterfall(frame.assign(start_ns=frame.start_ns * 10**6, duration_ns=frame.duration_ns * 10**6), "pay")
    assert labels(figure) == ["web op", " pay op", "  db op", " cart op"]
    (bars,) = figure.data
    assert (list(bars.base), list(bars.x)) == ([0.0, 1.0, 2.0, 5.0], [9.0, 3.0, 1.0, 2.0])
    assert list(bars.text) == ["9 ms", "3 ms", "✕ 1 ms", "2 ms"]


def test_waterfall_loses_no_span_to_absent_parents_circles_or_itself() -> None:
    frame = spans(
        ("a", "gone", "web", 0, 1, False),
        ("b", "c", "x", 1, 1, False),
        ("c", "b", "y", 2, 1, False),
        ("d", "d", "z", 3, 1, False),
    )
    assert sorted(labels(waterfall(frame))) == ["web op", "x op", "y op", "z op"]


def test_waterfalls_on_one_axis_compare() -> None:
    one, other = spans(("a", None, "web", 0, 10**6, False)), spans(("a", None, "web", 0, 9 * 10**6, False))
    assert waterfall(one, until_ms=9.0).layout.xaxis.range == waterfall(other, until_ms=9.0).layout.xaxis.range


def test_timeline_marks_in_order_of_time_and_leaves_gaps_open() -> None:
    index = pd.to_datetime([0, 10**9, 2 * 10**9], unit="ns", utc=True)
    panel = Panel("share", pd.DataFrame({"errors": [0.0, None, 0.2]}, index=index), (0.0, 0.1), percent=True)
    figure = timeline([panel, panel], {"alert": 2 * 10**9, "onset": 10**9})
    assert [a.text for a in figure.layout.annotations] == ["share", "share", "onset", "alert"]
    assert [line.connectgaps for line in figure.data] == [False, False]
    assert [(s.y0, s.y1) for s in figure.layout.shapes if s.type == "rect"] == [(0.0, 0.1)] * 2


def test_timeline_of_nothing_is_an_empty_figure() -> None:
    assert (len(timeline([], {}).data), len(evidence_bars([]).data), len(waterfall(spans()).data[0].y)) == (0, 0, False)


def test_evidence_bars_hold_for_and_against_in_the_order_of_the_ranking() -> None:
    figure = evidence_bars(small.ranking().candidates)
    drawn = {
        (bar.name, name): value for bar in figure.data for name, value in zip(bar.y, bar.x, strict=True) if value > 0
    }
    first, second, third = "1. payment", "2. checkout -&gt; payment", "3. web"
    assert drawn == {("latency", first): 6.4, ("errors", first): 2.7, ("latency", second): 2.0}
    assert list(figure.layout.yaxis.categoryarray) == [third, second, first]


def test_text_for_plotly_shows_as_it_is() -> None:
    assert plain("<a href='x'>&lt;\x1b\u202e") == "&lt;a href='x'&gt;&amp;lt;\ufffd\ufffd"
