"""The incident that the ranking is timed on, and the shortcuts that many series allow."""

import pytest

from benchmarks.rank import incident
from hypocenter.analysis.evidence import series
from hypocenter.analysis.hypocenter import Hypocenter


def test_series_that_stay_still_are_skipped_without_another_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    case = incident(services=50, metrics=50)
    first, *_ = Hypocenter().rank(case).candidates
    monkeypatch.setattr(series, "_FEW_SERIES", 10**9)
    whole, *_ = Hypocenter().rank(case).candidates
    assert (first.service, first.onset_ns, first.evidence_for) == ("service-0025", whole.onset_ns, whole.evidence_for)
    assert first.score == pytest.approx(whole.score)
