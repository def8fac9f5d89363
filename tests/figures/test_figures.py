"""Figures: the data that they carry, one look, and that text from telemetry stays text."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import plotly.io as pio
import pytest
import small_incident as small
from rollup_tables import edge, graph, histogram

from hypocenter.analysis.evaluation.calibration import Calibration
from hypocenter.analysis.evaluation.tables import bins
from hypocenter.figures import (
    Panel,
    Region,
    contrast_bars,
    evidence_bars,
    icicle,
    latency_heatmap,
    propagation_sankey,
    reliability_diagram,
    restyle,
    state_timeline,
    timeline,
    waterfall,
)
from hypocenter.figures.look import ON_DARK, PALETTE, PAPER, SUSPECT, plain
from hypocenter.figures.map_scale import Scale
from hypocenter.incident import RankedIncident

MS = 10**6


def laid(*rows: tuple[int, int, str, int, int, bool, bool]) -> pd.DataFrame:
    """Return spans as laid out: parent, depth, service, start ms, duration ms, is_error, is_critical."""
    columns = ["parent", "depth", "service", "start_ns", "duration_ns", "is_error", "is_critical"]
    frame = pd.DataFrame(rows, columns=columns).assign(operation="op", early_ns=0)
    frame["span_id"] = [f"{number:016x}" for number in range(len(frame))]
    return frame.assign(number=range(len(frame)), start_ns=frame.start_ns * MS, duration_ns=frame.duration_ns * MS)


def utc(*seconds: float) -> pd.Series:
    return pd.Series(pd.to_datetime([s * 1e9 for s in seconds], utc=True))


def labels(figure: Any) -> list[str]:
    return [text.replace("\u00a0", " ").rstrip() for text in figure.layout.yaxis.ticktext]


TRACE = laid(
    (-1, 0, "web", 0, 10, False, True),
    (0, 1, "pay", 1, 3, False, False),
    (1, 2, "db", 2, 1, True, False),
    (0, 1, "cart", 5, 4, False, True),
)


def test_waterfall_is_indented_by_depth_and_marks_errors() -> None:
    figure = waterfall(TRACE, "pay")
    assert labels(figure) == ["web op", " pay op", "  db op", " cart op"]
    bars = figure.data[0]
    assert (list(bars.base), list(bars.x)) == ([0.0, 1.0, 2.0, 5.0], [10.0, 3.0, 1.0, 4.0])
    assert list(bars.text) == ["10 ms", "3 ms", "✕ 1 ms", "4 ms"]
    assert [colour == SUSPECT for colour in bars.marker.color] == [False, True, False, False]
    # Told in black print too.
    assert list(bars.marker.line.width) == [0, 1.5, 0, 0]


def test_calls_to_a_suspect_without_spans_stand_out() -> None:
    bars = waterfall(TRACE, "store", calls=[f"{2:016x}"]).data[0]
    assert [colour == SUSPECT for colour in bars.marker.color] == [False, False, True, False]


def test_critical_path_has_gaps_where_a_span_waits_for_a_critical_callee() -> None:
    path = waterfall(TRACE).data[1]
    assert list(path.x) == [0.0, 5.0, None, 9.0, 10.0, None, 5.0, 9.0, None]
    assert list(path.y) == [0.42, 0.42, None, 0.42, 0.42, None, 3.42, 3.42, None]


def test_waterfall_tells_clocks_that_disagree() -> None:
    bars = waterfall(TRACE.assign(early_ns=[0, 5 * MS, 10, 0])).data[0]
    assert list(bars.text) == ["10 ms", "⏱ 3 ms", "✕ 1 ms", "4 ms"]
    assert "5 ms before its caller" in bars.customdata[1]


def test_long_trace_keeps_what_failed_and_decided_with_its_callers() -> None:
    rows: list[tuple[int, int, str, int, int, bool, bool]] = [(-1, 0, "web", 0, 100, False, True)]
    rows += [(0, 1, "noise", i, 50, False, False) for i in range(30)]
    rows += [(0, 1, "pay", 5, 1, False, False), (31, 2, "db", 5, 1, True, False)]
    figure = waterfall(laid(*rows), most=3)
    assert labels(figure) == ["web op", " pay op", "  db op"]
    assert "30 more spans not shown" in figure.layout.xaxis.title.text


def test_waterfalls_on_one_axis_compare() -> None:
    one, other = laid((-1, 0, "web", 0, 1, False, True)), laid((-1, 0, "web", 0, 9, False, True))
    assert waterfall(one, until_ms=9.0).layout.xaxis.range == waterfall(other, until_ms=9.0).layout.xaxis.range


def test_timeline_marks_in_order_of_time_and_leaves_gaps_open() -> None:
    index = pd.to_datetime([0, 10**9, 2 * 10**9], unit="ns", utc=True)
    panel = Panel("share", pd.DataFrame({"errors": [0.0, None, 0.2]}, index=index), (0.0, 0.1), percent=True)
    figure = timeline([panel, panel], {"alert": 2 * 10**9, "onset": 10**9})
    assert [a.text for a in figure.layout.annotations] == ["share", "share", "onset", "alert"]
    assert [line.connectgaps for line in figure.data] == [False, False]
    assert [(s.y0, s.y1) for s in figure.layout.shapes if s.type == "rect"] == [(0.0, 0.1)] * 2


def test_timeline_names_lines_beside_the_plot_and_apart() -> None:
    index = pd.to_datetime([0, 10**9], unit="ns", utc=True)
    lines = pd.DataFrame({"p95": [2.0, 1.0], "p50": [1.0, 1.0]}, index=index)
    figure = timeline([Panel("calls", lines[["p95"]]), Panel("ms", lines)], {})
    names = [a for a in figure.layout.annotations if "━" in a.text]
    assert [(a.text[-3:], a.xref, a.x, a.xanchor, a.yref) for a in names] == [
        ("p95", "paper", 1, "left", "y2"),
        ("p50", "paper", 1, "left", "y2"),
    ]
    assert names[1].yshift - names[0].yshift == 13
    assert figure.layout.margin.r > timeline([Panel("calls", lines[["p95"]])], {}).layout.margin.r + 20


def test_evidence_bars_hold_for_and_against_in_the_order_of_the_ranking() -> None:
    figure = RankedIncident(small.ranking(), small.case()).figure()
    drawn = {
        (bar.name, name): value for bar in figure.data for name, value in zip(bar.y, bar.x, strict=True) if value > 0
    }
    first, second, third = "1. payment <b>87%</b>", "2. checkout -&gt; payment <b>9%</b>", "3. web <b>under 1%</b>"
    assert drawn == {("latency", first): 6.4, ("errors", first): 2.7, ("latency", second): 2.0}
    assert list(figure.layout.yaxis.categoryarray) == [third, second, first]


def spans(*rows: tuple[float, float, bool]) -> pd.DataFrame:
    """Return spans: start in seconds, duration in ms, is_error."""
    frame = pd.DataFrame(rows, columns=["start_ns", "duration_ns", "is_error"])
    whole = {
        "start_ns": (frame.start_ns * 1e9).astype("int64"),
        "duration_ns": (frame.duration_ns * MS).astype("int64"),
    }
    return frame.assign(**whole)


def test_heatmap_counts_every_span_once_and_marks_columns_with_errors() -> None:
    given = spans(*((i, 10 if i < 50 else 400, i == 99) for i in range(100)), (3, 0, False))
    figure = latency_heatmap(given, Region(50 * 10**9, 200 * 10**9, 0.1))
    counts = np.array([[cell[0] for cell in row] for row in figure.data[0].customdata], dtype=float)
    assert counts.sum() == 101
    assert (counts.sum(axis=1) > 0).nonzero()[0].size == 3
    assert list(figure.data[1].hovertext) == ["1 errors"]
    (region,) = figure.layout.shapes
    assert (region.x0, region.y0) == (pd.Timestamp(50, unit="s", tz="UTC"), 0.1)
    assert figure.layout.dragmode == "select"


def test_contrast_bars_show_both_sides_from_the_most_different_on() -> None:
    table = pd.DataFrame(
        {"attribute": ["db.name", "pod"], "value": ["a<b", "p"], "inside": [1, 0.5], "outside": [0, 0.2]}
    )
    outside, inside = contrast_bars(table).data
    assert (list(inside.x), list(outside.x)) == ([1, 0.5], [0, 0.2])
    assert list(inside.y) == ["<b>db.name</b><br>a&lt;b", "<b>pod</b><br>p"]


PATHS = pd.DataFrame(
    [(0, -1, "web", "GET", 2, 4.0, 1.0, 0), (1, 0, "db", "SELECT", 4, 3.0, 3.0, 1)],
    columns=["path", "parent", "service", "operation", "count", "total_s", "self_s", "errors"],
)


def test_icicle_is_as_wide_as_own_time_and_all_below() -> None:
    (shown,) = icicle(PATHS).data
    assert (list(shown.ids), list(shown.parents)) == (["all", "0", "1"], ["", "all", "0"])
    assert (list(shown.values), shown.branchvalues) == ([0.0, 1.0, 3.0], "remainder")
    assert list(shown.marker.colors) == [0.0, 0.25, 1.0]
    assert "4 spans, 1 with errors<br>750 ms each" in shown.text[2]


def test_sankey_runs_from_origins_to_the_symptom() -> None:
    table = pd.DataFrame(
        {"source": ["db", "pay"], "target": ["pay", "web"], "weight": [0.8, 0.9], "text": ["slow", ""]}
    )
    (shown,) = propagation_sankey(table, "web").data
    assert list(shown.node.label) == ["db", "pay", "web"]
    assert list(shown.node.customdata) == ["possible origin", "on the way", "symptom"]
    links = zip(shown.link.source, shown.link.target, shown.link.value, strict=True)
    assert list(links) == [(0, 1, 0.8), (1, 2, 0.9)]


def test_reliability_has_a_diagonal_and_wilson_intervals() -> None:
    honest, ours = reliability_diagram(bins([Calibration("ours", 20, ((0.3, 0.0, 10), (0.9, 1.0, 10)), 0.2, 0.1)])).data
    assert list(honest.x) == list(honest.y) == [0, 1]
    # Newcombe 1998: 0 of 10 is 0 to 0.2775.
    assert ours.error_y.array[0] == pytest.approx(0.2775, abs=1e-4)
    assert ours.error_y.arrayminus[1] == pytest.approx(0.2775, abs=1e-4)


STATES = pd.DataFrame({"object": ["Pod/a", "Pod/b", "Pod/b"], "state": ["ready", "ready", "OOMKilled"]}).assign(
    start=utc(0, 0, 5), end=utc(9, 5, 9), is_bad=[False, False, True]
)
EVENTS = pd.DataFrame({"time": utc(5), "object": ["Pod/b"], "text": ["Killing: memory"]})


def test_state_timeline_shows_the_worst_objects_first_and_counts_the_rest() -> None:
    figure = state_timeline(STATES, EVENTS, {"onset": 5 * 10**9}, most=1)
    assert [(bar.name, list(bar.y), list(bar.customdata)) for bar in figure.data[:2]] == [
        ("as it should be", ["Pod/b"], ["ready"]),
        ("not well", ["Pod/b"], ["OOMKilled"]),
    ]
    assert list(figure.data[1].x) == [4000.0]
    assert list(figure.data[2].hovertext) == ["Killing: memory"]
    assert figure.layout.xaxis.title.text == "1 quieter objects not shown"
    assert [a.text for a in figure.layout.annotations] == ["onset"]


def test_diff_map_tells_what_became_of_each_call() -> None:
    before = graph(edge("web", "cart", 60), edge("web", "old", 40), edge("cart", "db", 50))
    after = graph(
        edge("web", "cart", 60, errors=30),
        edge("web", "new", 40),
        edge("cart", "db", 50, client_duration=histogram({0.9: 50})),
    )
    figure = before.diff(after).figure()
    drawn = {(t.line.color, t.line.dash) for t in figure.data if t.mode == "lines+markers"}
    assert {("#7f2704", "dot"), ("#17205c", "dash"), ("#cc4c02", "solid")} <= drawn
    assert figure.layout.title.text.startswith("Calls: 1 appeared, 1 vanished, ")
    hovered = [text for trace in figure.data for text in (trace.text or ()) if "web → cart" in str(text)]
    assert ["errors 0.00% -&gt; 50.00%" in text for text in hovered] == [True]


EMPTY = {
    "timeline": lambda: timeline([], {}),
    "waterfall": lambda: waterfall(TRACE.head(0)),
    "heatmap": lambda: latency_heatmap(spans()),
    "contrast": lambda: contrast_bars(pd.DataFrame(columns=["attribute", "value", "inside", "outside"])),
    "sankey": lambda: propagation_sankey(pd.DataFrame(columns=["source", "target", "weight", "text"])),
    "evidence": lambda: evidence_bars(
        pd.DataFrame(columns=["rank", "entity", "chance", "kind", "score", "text"]).astype({"rank": int})
    ),
}


@pytest.mark.parametrize("name", EMPTY)
def test_figure_of_nothing_is_an_empty_one(name: str) -> None:
    assert sum(len(trace.x) for trace in EMPTY[name]().data if getattr(trace, "x", None) is not None) == 0


DRAWN = {
    "map": lambda: graph(edge("web", "cart", 60, errors=30), edge("external", "web")).figure(
        highlight=["cart"], symptom="web"
    ),
    "diff": lambda: graph(edge("web", "cart", 60)).diff(graph(edge("web", "new", 60))).figure(),
    "waterfall": lambda: waterfall(TRACE, "pay"),
    "heatmap": lambda: latency_heatmap(spans((0, 1, False), (5, 900, True)), Region(0, 10**9)),
    "icicle": lambda: icicle(PATHS),
    "states": lambda: state_timeline(STATES, EVENTS, {"onset": 5 * 10**9}),
    "reliability": lambda: reliability_diagram(bins([Calibration("ours", 9, ((0.5, 0.4, 9),), 0.1, 0.1)])),
}


def colours(figure: Any) -> set[str]:
    return set(re.findall("#[0-9a-f]{6}", figure.to_json()))


@pytest.mark.parametrize("name", DRAWN)
def test_figure_is_dark_where_the_users_plotly_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    light = DRAWN[name]()
    monkeypatch.setattr(pio.templates, "default", "plotly_dark")
    dark = DRAWN[name]()
    assert colours(light) & set(ON_DARK.values()) == set()
    assert colours(dark) == {ON_DARK.get(colour, colour) for colour in colours(light)}
    assert json.loads(restyle(light, dark=True).to_json()) == json.loads(dark.to_json())
    back = [json.loads(restyle(figure, dark=False).to_json()) for figure in (dark, light)]
    assert back[0] == back[1]


def test_a_colour_on_dark_paper_stands_for_one_on_light_paper_alone() -> None:
    assert len(set(ON_DARK.values()) | set(ON_DARK)) == 2 * len(ON_DARK)


def test_a_name_that_reads_like_a_colour_keeps_its_letters() -> None:
    named = graph(edge(PAPER, "cart"))
    texts = [str(trace.text) for trace in restyle(named.figure(), dark=True).data]
    assert any(PAPER in text for text in texts)


@pytest.mark.parametrize("scale", ["errors", "latency"])
@pytest.mark.parametrize("dark", [False, True])
def test_what_is_worse_stands_out_more_in_print_too(scale: str, dark: bool) -> None:
    light = [Scale.named(scale).colour(number) for number in range(5)]
    shown = [ON_DARK.get(colour, colour) if dark else colour for colour in light]
    paper = luminance(linear(ON_DARK[PAPER] if dark else PAPER))
    contrast = [(max(own, paper) + 0.05) / (min(own, paper) + 0.05) for own in (luminance(linear(c)) for c in shown)]
    assert contrast == sorted(contrast)
    assert contrast[0] >= 2.5 and contrast[1] >= 3


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def linear(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def luminance(rgb: np.ndarray) -> float:
    return float(rgb @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colour", PALETTE)
def test_colour_stands_out_from_light_and_dark_paper(colour: str) -> None:
    own = luminance(linear(colour))
    for paper in ("#ffffff", "#14181d"):
        other = luminance(linear(paper))
        assert (max(own, other) + 0.05) / (min(own, other) + 0.05) >= 3


@pytest.mark.parametrize("kind", BLINDNESS)
def test_normal_and_suspect_differ_for_colour_blind_eyes(kind: str) -> None:
    seen = [np.clip(np.array(BLINDNESS[kind]) @ linear(colour), 0, 1) for colour in PALETTE[:2]]
    assert np.abs(np.cbrt(seen[0]) - np.cbrt(seen[1])).max() > 0.15
    assert len({tuple(linear(colour)) for colour in PALETTE}) == len(PALETTE)


def test_text_for_plotly_shows_as_it_is() -> None:
    assert plain("<a href='x'>&lt;\x1b\u202e") == "&lt;a href='x'&gt;&amp;lt;\ufffd\ufffd"
