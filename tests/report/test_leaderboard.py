"""The page of an evaluation: what it says of each method, and that names from cases stay text."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypocenter.analysis.evaluation.cases import LabelledCase
from hypocenter.analysis.evaluation.origins import Origin
from hypocenter.analysis.evaluation.runner import Prediction
from hypocenter.analysis.ranking import Candidate, Evidence, Ranking
from hypocenter.report.leaderboard import Table, write_leaderboard

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>{{7*7}}"


def case(name: str, *answers: str, fault_type: str = "cpu") -> LabelledCase:
    origins = tuple(Origin(answer, pod=f"{answer}-1") for answer in answers)
    return LabelledCase(name, "shop", fault_type, frozenset(answers), {}, Path(), origins=origins)


def said(labelled: LabelledCase, first: str, ranker: str = "hypocenter", outcome: str = "ranked") -> Prediction:
    others = [s for s in ("web", "cart", "pay") if s != first]
    why = (Evidence("latency", 4.0, f"{first} is slow"),)
    chances = (0.8, 0.1, 0.05, 0.01)
    candidates = tuple(
        Candidate(s, "service", s, p, None, p, why if s == first else (), pod=f"{s}-1")
        for s, p in zip([first, *others], chances, strict=False)
    )
    ranking = Ranking(ranker, outcome, candidates)  # type: ignore[arg-type]
    return Prediction(labelled, ranking, 0.25, 100 * 2**20)


def page(folder: Path, predictions: list[Prediction], more: tuple[Table, ...] = ()) -> str:
    return write_leaderboard(folder / "page.html", predictions, "hypocenter", "As recorded.", more).read_text("utf-8")


def rows_under(html: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without markup."""
    import re

    table = html.split(heading, 1)[1].split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    return [
        [re.sub(r"<[^>]+>", " ", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    ]


@pytest.fixture
def predictions() -> list[Prediction]:
    right, wrong, quiet = case("c1", "cart"), case("c2", "pay", fault_type="delay"), case("q", fault_type="none")
    return [
        said(right, "cart"),
        said(right, "web", "max-z"),
        said(wrong, "web"),
        said(wrong, "pay", "max-z"),
        said(quiet, "web", outcome="no-origin"),
        said(quiet, "web", "max-z"),
    ]


def test_page_answers_first_and_lists_every_miss_with_its_place(predictions: list[Prediction], tmp_path: Path) -> None:
    html = page(tmp_path, predictions)
    assert "<h1>hypocenter names the true origin first in 50% of 2 faults</h1>" in html
    assert "2 labelled faults, 1 window without a fault; systems: shop" in html
    assert rows_under(html, 'id="misses"') == [
        ["c2 shop", "delay", "pay", "web (service), 80% web is slow", "3"],
    ]


def test_tables_hold_accuracy_by_fault_type_granularity_specificity_and_cost(
    predictions: list[Prediction], tmp_path: Path
) -> None:
    html = page(tmp_path, predictions)
    one, none = "1.00 [0.21, 1.00]", "0.00 [0.00, 0.79]"
    # The better method by Avg@5 comes first: max-z.
    assert rows_under(html, "<h3>AC@1 by fault type</h3>") == [
        ["cpu", "1", none, one],
        ["delay", "1", one, none],
        ["all", "2", "0.50 [0.09, 0.91]", "0.50 [0.09, 0.91]"],
    ]
    half, sure = "0.50 [0.09, 0.91]", "1.00 [0.34, 1.00]"
    assert rows_under(html, 'id="levels"') == [
        [level, ranker, "2", half, sure] for level in ("service", "pod") for ranker in ("hypocenter", "max-z")
    ]
    assert rows_under(html, 'id="quiet"') == [["hypocenter", one, "1"], ["max-z", none, "1"]]
    assert rows_under(html, 'id="cost"') == [[ranker, "0.25", "0.25", "100"] for ranker in ("hypocenter", "max-z")]


def test_further_tables_stand_where_they_are_given(predictions: list[Prediction], tmp_path: Path) -> None:
    html = page(tmp_path, predictions, (Table("Worse", ("Condition", "n"), (("alert -60 s", "2"),)),))
    assert rows_under(html, "<h3>Worse</h3>") == [["alert -60 s", "2"]]
    assert "<h3>Worse</h3>" not in page(tmp_path, predictions)


def test_names_from_cases_stay_text(tmp_path: Path) -> None:
    hostile = LabelledCase(HOSTILE, HOSTILE, HOSTILE, frozenset({HOSTILE}), {}, Path())
    html = page(tmp_path, [said(hostile, HOSTILE), said(hostile, "web", HOSTILE), said(hostile, "web")])
    written = html.split("<body", 1)[1].split("<footer>", 1)[0]
    assert "&lt;img src=x onerror=alert(1)&gt;" in written
    assert "<img" not in written
    assert "{{7*7}}" in html
    assert "<script>alert" not in html


def test_cases_without_a_label_give_a_page_that_says_so(tmp_path: Path) -> None:
    blind = LabelledCase("c", "shop", "unknown", None, {}, Path())
    html = page(tmp_path, [said(blind, "web")])
    assert "<h1>No case carries a label</h1>" in html
    assert "Nothing to score." in html
