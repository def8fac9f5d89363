"""Evidence becomes a posterior: nats add, no origin is an alternative, and an origin explains nothing earlier."""

import numpy as np
import pytest

from hypocenter.analysis.evidence.finding import Told
from hypocenter.analysis.fusion import fuse
from hypocenter.analysis.onset import Split

SECOND_NS = 10**9
SPLITS = [Split(0, at * SECOND_NS, 900 * SECOND_NS, 0.0) for at in range(300, 480, 30)]


class Steps:
    """Evidence of given nats about each service, from the split at which it begins and for the splits around it."""

    kind = "steps"
    not_checked = None

    def __init__(self, nats: list[float], begins_s: list[int]) -> None:
        self._nats, self._begins = np.array(nats), np.array(begins_s) * SECOND_NS

    def score(self, split: Split) -> np.ndarray:
        return np.where(split.onset_ns == self._begins, self._nats, 0.0)

    def tell(self, split: Split, service: int) -> Told:
        return Told("", "")


def posterior(nats: list[float], begins_s: list[int], *, looked_at: bool = True, unsure: np.ndarray | None = None):
    return fuse(
        [Steps(nats, begins_s)],
        {"steps": 1.0},
        SPLITS,
        1.5,
        np.zeros(len(SPLITS)) if unsure is None else unsure,
        np.full(len(nats), looked_at),
    )


def test_of_equal_evidence_the_one_that_began_earlier_is_the_origin() -> None:
    found = posterior([12.0, 12.0], [300, 420])
    assert found.onset.tolist() == [0, 4]
    assert found.score[0] - found.score[1] == pytest.approx(4.0)


def test_what_began_within_the_errors_of_onsets_is_not_earlier() -> None:
    found = posterior([12.0, 12.0], [390, 420])
    assert found.score[0] == pytest.approx(found.score[1])


def test_weak_evidence_that_is_earlier_speaks_against_nobody() -> None:
    alone, beside = posterior([0.0, 12.0], [300, 420]), posterior([4.0, 12.0], [300, 420])
    assert beside.score[1] == pytest.approx(alone.score[1])


def test_probabilities_leave_room_for_no_origin() -> None:
    nothing = posterior([0.0, 0.0], [300, 300], looked_at=False)
    weights = np.exp([0.0, 0.0, 1.5])
    assert nothing.probability == pytest.approx(0.96 * weights[:2] / weights.sum())


def test_a_service_that_was_looked_at_and_shows_nothing_is_less_likely_than_one_that_is_unknown() -> None:
    seen, unknown = posterior([0.0, 0.0], [300, 300]), posterior([0.0, 0.0], [300, 300], looked_at=False)
    weights = np.exp([np.log(0.05), np.log(0.05), 1.5])
    assert seen.probability == pytest.approx(0.96 * weights[:2] / weights.sum())
    assert (seen.probability < unknown.probability).all()
    assert seen.score.tolist() == unknown.score.tolist()


def test_evidence_with_little_before_it_counts_less_and_is_no_earlier_origin() -> None:
    unsure = np.where(np.arange(len(SPLITS)) == 0, 9.0, 0.0)
    found = posterior([12.0, 12.0], [300, 420], unsure=unsure)
    told, others = np.exp(20 * np.tanh(12 / 20)), len(SPLITS) - 1
    assert found.score == pytest.approx(
        [np.log((told * np.exp(-9) + others) / len(SPLITS)), np.log((np.exp(-9) + others - 1 + told) / len(SPLITS))]
    )
