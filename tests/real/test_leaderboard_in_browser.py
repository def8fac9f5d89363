"""The page of an evaluation in a browser: it fetches nothing, runs nothing from a case, and fits every screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from watched import HOSTILE, opened

from hypocenter.analysis.evaluation.cases import LabelledCase
from hypocenter.analysis.evaluation.runner import Prediction
from hypocenter.analysis.ranking import Candidate, Ranking
from hypocenter.report.leaderboard import write_leaderboard


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    case = LabelledCase(HOSTILE, HOSTILE, HOSTILE, frozenset({"cart"}), {}, Path())
    found = [
        Prediction(case, Ranking(ranker, "ranked", (Candidate(HOSTILE, "service", HOSTILE, 0.7),)), 0.1, 1)
        for ranker in ("hypocenter", HOSTILE)
    ]
    return write_leaderboard(tmp_path_factory.mktemp("evaluation") / "hostile.html", found, "hypocenter", HOSTILE)


@pytest.mark.parametrize(("width", "height", "scheme"), [(1200, 900, "light"), (390, 844, "dark")])
def test_page_draws_fits_the_screen_and_obeys_no_name(
    browser: Browser, hostile_page: Path, width: int, height: int, scheme: Any
) -> None:
    page, untoward = opened(browser, hostile_page, width, height, scheme)
    for summary in page.locator("summary").all():
        summary.click()
    assert untoward == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.eval_on_selector_all(".plot", "plots => plots.map(p => !!p.querySelector('svg.main-svg'))")
    assert drawn == [True] * 3
