"""Evaluations for people: the methods as a table, the incidents one by one, and figures of both."""

from __future__ import annotations

from pathlib import Path

import pytest

import hypocenter as hc
from hypocenter.errors import CaseError

SAMPLE = Path(__file__).parents[1] / "sample_data" / "CASES.jsonl"


@pytest.fixture(scope="module")
def evaluation() -> hc.Evaluation:
    return hc.evaluate(SAMPLE, rankers=("hypocenter", "random"), limit=2)


def test_methods_are_a_table_and_incidents_are_told_one_by_one(evaluation: hc.Evaluation) -> None:
    frame, cases = evaluation.to_frame(), evaluation.cases()
    assert list(frame.ranker) == ["hypocenter", "random"] and list(frame.n) == [2, 2]
    assert len(cases) == 4 and set(cases.ranker) == {"hypocenter", "random"}
    ours = cases[cases.ranker == "hypocenter"]
    assert frame.ac1[0] == ours.is_right.mean()
    assert repr(evaluation) == "<hypocenter, random on 2 incidents>"


def test_evaluation_draws_itself_and_writes_its_page(evaluation: hc.Evaluation, tmp_path: Path) -> None:
    assert [len(trace.x) for trace in evaluation.figure().data] == [2, 2]
    assert [trace.name for trace in evaluation.reliability().data][:2] == ["honest", "hypocenter"]
    assert "hypocenter names the true origin first" in evaluation.report(tmp_path / "page.html").read_text("utf-8")


def test_a_file_without_cases_is_an_error_that_says_what_a_line_holds(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(CaseError, match=r"no case in it; docs/howto/evaluate.md"):
        hc.evaluate(tmp_path / "none.jsonl")
