"""The map of 10, 100 and 1,000 services in a browser: its names can be read, and the pointer finds what has none."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from watched import watch

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("graph", "figures")]

from generated_system import system  # noqa: E402

from hypocenter.figures.look import ON_DARK, PAPER, restyle  # noqa: E402

# Where to keep the pictures, for people to look at; by default in the folder of the test.
PICTURES = os.environ.get("HYPOCENTER_PICTURES")
# Boxes (left, top, right, bottom) of what is written and of the marks, in pixels of the page.
BOXES = """selector => [...document.querySelectorAll(selector)].map(found => {
  const box = found.getBoundingClientRect();
  return [box.left, box.top, box.right, box.bottom];
}).filter(([left, top, right, bottom]) => right > left && bottom > top)"""
# Where the nodes are: the name in the first line of what the pointer tells, and the pixel of the page.
NODES = """() => {
  const plot = document.querySelector(".js-plotly-plot"), {xaxis, yaxis} = plot._fullLayout;
  const {left, top} = plot.getBoundingClientRect();
  const trace = plot._fullData.find(one => one.hovertemplate && one.marker.symbol !== "circle");
  return trace.x.map((x, i) => [
    trace.text[i], left + xaxis._offset + xaxis.l2p(x), top + yaxis._offset + yaxis.l2p(trace.y[i]),
  ]);
}"""
Box = list[float]


def overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share, in square pixels."""
    wide, high = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    return max(0.0, wide) * max(0.0, high)


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def told_at(page: Page, x: float, y: float) -> str:
    """Return the first line of what the pointer tells at a place."""
    page.mouse.move(x, y)
    page.wait_for_selector(".hoverlayer .hovertext")
    page.wait_for_timeout(60)  # Plotly looks at the pointer at most every 50 ms
    return str(page.evaluate("document.querySelector('.hoverlayer .hovertext .nums tspan').textContent"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("services", [10, 100, 1000])
def test_map_can_be_read_at_any_size(
    browser: Browser, tmp_path: Path, services: int, scheme: str, record_property: Callable[[str, object], None]
) -> None:
    made = system(services)
    figure = restyle(made.figure(), dark=scheme == "dark")
    path = tmp_path / f"map-{services}-{scheme}.html"
    path.write_text(figure.to_html(include_plotlyjs=True, full_html=True), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1400, "height": 1180})
    page.set_default_timeout(300_000)
    untoward = watch(page, path.as_uri())
    page.goto(path.as_uri())
    page.wait_for_selector("svg.main-svg .textpoint")
    page.screenshot(path=Path(PICTURES or tmp_path) / path.with_suffix(".png").name)

    assert untoward == []
    paper = page.evaluate("getComputedStyle(document.querySelector('svg.main-svg')).backgroundColor")
    colour = ON_DARK[PAPER] if scheme == "dark" else PAPER
    assert paper == f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"

    nodes: list[Any] = page.evaluate(NODES)
    assert sorted(text.split("<b>")[1].split("</b>")[0] for text, *_ in nodes) == sorted(made.nodes["id"])
    names: list[Box] = page.evaluate(BOXES, ".textpoint text")
    lanes: list[Box] = page.evaluate(BOXES, ".annotation-text")
    assert len(names) == sum(len(trace.text) for trace in figure.data if trace.mode == "markers+text")
    # Names hide at most a hundredth of each other, and of the names of lanes.
    hidden = sum(overlap(one, other) for one, other in itertools.combinations([*names, *lanes], 2))
    record_property("hidden_share", round(hidden / sum(map(area, names)), 4))
    assert hidden <= 0.01 * sum(map(area, names))

    ((left, top, right, bottom),) = page.evaluate(BOXES, ".js-plotly-plot")
    inside = [box[0] >= left and box[1] >= top and box[2] <= right and box[3] <= bottom for box in names + lanes]
    assert all(inside)
    assert all(left < x < right and top < y < bottom for _, x, y in nodes)
    legend: list[Box] = page.evaluate(BOXES, ".legendtext")
    assert all(box[2] <= right and box[3] <= bottom for box in legend)
    assert not any(overlap(one, other) for one, other in itertools.product(legend, names))

    # Every node at 10 and 100; of a thousand a sample, since Plotly takes its time.
    sample = nodes[:: max(1, len(nodes) // 150)]
    told = [told_at(page, x, y) for _, x, y in sample]
    assert told == [text.split("<b>")[1].split("</b>")[0] for text, *_ in sample]
