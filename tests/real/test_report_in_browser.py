"""The report in a browser: nothing is fetched, nothing from telemetry runs, and the answer is on the first screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import pytest
import small_incident as small
from playwright.sync_api import Browser
from watched import HOSTILE, opened

from hypocenter.figures.look import INK, ON_DARK
from hypocenter.incident import RankedIncident

# When the first figure stands, in milliseconds since the page was asked for.
WHEN_DRAWN = """new MutationObserver(() => {
  if (!window.firstFigure && document.querySelector(".plot svg.main-svg")) window.firstFigure = performance.now();
}).observe(document, {subtree: true, childList: true})"""
SCREENS = [(1400, 900, "light"), (1400, 900, "dark"), (390, 844, "light")]


@pytest.fixture(scope="module")
def plain_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return RankedIncident(small.ranking(), small.case()).report(tmp_path_factory.mktemp("report") / "plain.html")


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    case = small.case(small.telemetry(suspect=HOSTILE, operation=HOSTILE, message=HOSTILE))
    path = tmp_path_factory.mktemp("report") / "hostile.html"
    return RankedIncident(small.ranking(HOSTILE, HOSTILE), case).report(path)


@pytest.mark.parametrize(("width", "height", "scheme"), SCREENS)
def test_first_screen_holds_the_whole_answer(
    browser: Browser, plain_page: Path, width: int, height: int, scheme: str
) -> None:
    page, untoward = opened(browser, plain_page, width, height, scheme)
    assert untoward == []
    below = [
        text
        for text in ("payment (service) is very likely the origin", "calls from checkout to payment", "web", "87%")
        for box in [page.get_by_text(text).first.bounding_box()]
        if box["y"] + box["height"] > height
    ]
    steps = page.locator(".strip li").all()
    assert below == []
    assert [step.bounding_box()["y"] + step.bounding_box()["height"] <= height for step in steps] == [True] * 3
    assert page.locator(".next code").first.bounding_box()["y"] < height


@pytest.mark.parametrize(("width", "height", "scheme"), SCREENS)
def test_page_never_scrolls_sideways_and_draws_every_figure(
    browser: Browser, plain_page: Path, width: int, height: int, scheme: str
) -> None:
    page, _ = opened(browser, plain_page, width, height, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    names = page.eval_on_selector_all(".plot", "plots => plots.map(p => [p.id, !!p.querySelector('svg.main-svg')])")
    drawn = ["map", "spread", "timeline-0", "timeline-1", "trace-bad", "trace-good"]
    assert names == [[name, True] for name in drawn]


def test_markup_in_telemetry_is_shown_as_text_and_never_runs(browser: Browser, hostile_page: Path) -> None:
    page, untoward = opened(browser, hostile_page, 1400, 900, "light")
    for summary in page.locator("summary").all():
        summary.click()
    for plot in page.locator(".plot").all():
        plot.hover()
    assert untoward == []
    assert page.locator("h1").inner_text() == f"{HOSTILE} (service) is very likely the origin"
    made = page.evaluate(
        "[...document.querySelectorAll('img, a')].filter(e => !e.getAttribute('href')?.startsWith('#')).length"
        " + [...document.querySelectorAll('svg a, svg image')].length"
    )
    assert made == 0
    ticks = page.locator("#trace-bad .yaxislayer-above text, #trace-bad .ytick text").all_text_contents()
    assert any("<b>p</b>&lt;<a" in text for text in ticks)
    assert page.locator(".logs td").last.inner_text() == HOSTILE
    assert page.locator(".events td").last.inner_text() == f"ScalingReplicaSet {HOSTILE}: scaled up to 1"
    assert page.locator("figure td", has_text="alert(3)").count() > 1


def test_policy_stops_a_script_that_the_page_did_not_bring(browser: Browser, plain_page: Path) -> None:
    page, untoward = opened(browser, plain_page, 1400, 900, "light")
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'document.title = 1';"
        " document.body.append(s); fetch('http://127.0.0.1:9/').catch(() => 0); }"
    )
    assert page.title() == "payment (service) is very likely the origin"
    assert len([line for line in untoward if "Content Security Policy" in line]) >= 2


def test_every_figure_has_words_and_headings_do_not_skip_a_level(browser: Browser, plain_page: Path) -> None:
    page, _ = opened(browser, plain_page, 1400, 900, "light")
    labels = page.eval_on_selector_all(".plot", "plots => plots.map(p => p.getAttribute('aria-label'))")
    tables = page.locator("figure details table").count()
    levels = page.eval_on_selector_all("h1, h2, h3", "found => found.map(h => +h.tagName[1])")
    assert [len(label) > 20 for label in labels] == [True] * 6
    assert tables == 6
    assert (levels[0], levels.count(1), max(b - a for a, b in pairwise(levels))) == (1, 1, 1)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the evidence"


def test_answer_is_seen_within_two_seconds_of_a_small_file_and_figures_come_one_by_one(
    browser: Browser, plain_page: Path, record_property: Callable[[str, object], None]
) -> None:
    assert plain_page.stat().st_size < 6_000_000
    seen, first, last = [], [], []
    for _ in range(3):  # the best counts: a machine may be busy
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.add_init_script(WHEN_DRAWN)
        page.goto(plain_page.as_uri())
        page.wait_for_selector("body.drawn")
        paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        seen.append(page.evaluate(paint))
        first.append(page.evaluate("firstFigure"))
        last.append(page.evaluate("performance.now()"))
        page.close()
    record_property("first_figure_ms", round(min(first)))
    print(
        f"\nreport: the answer after {min(seen):.0f} ms, a figure after {min(first):.0f} ms, all in {min(last):.0f} ms"
    )
    assert min(seen) < 2000
    assert min(first) < min(last)


# Every colour that is drawn, in a figure or all of them, as "r,g,b".
DRAWN = """plots => [...new Set(plots.flatMap(plot => [...plot.querySelectorAll("svg *")]).flatMap(part => {
  const style = getComputedStyle(part);
  return [style.fill, style.stroke].filter(c => c.startsWith("rgb(")).map(c => c.slice(4, -1).replaceAll(" ", ""));
}))]"""


def rgb(colours: Iterable[str]) -> set[str]:
    return {",".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5)) for colour in colours}


def test_figures_have_the_colours_of_the_scheme_and_those_of_paper_in_print(browser: Browser, plain_page: Path) -> None:
    page, _ = opened(browser, plain_page, 1400, 900, "dark")
    light, dark = rgb(ON_DARK), rgb(ON_DARK.values())
    shown = set(page.eval_on_selector_all(".plot", DRAWN))
    assert shown & light == set()
    assert {*rgb([ON_DARK[INK]])} <= set(page.eval_on_selector_all("#map", DRAWN)) & dark
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(500)
    assert set(page.eval_on_selector_all(".plot", DRAWN)) & dark == set()
    assert rgb([INK]) <= set(page.eval_on_selector_all("#map", DRAWN))


def test_print_is_light_even_from_a_dark_screen(browser: Browser, plain_page: Path) -> None:
    page, _ = opened(browser, plain_page, 1400, 900, "dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark, light) == ("rgb(20, 24, 29)", "rgb(255, 255, 255)")
