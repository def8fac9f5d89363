"""The splits that the search tries, and that a wrong alert time costs no origin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.analysis.onset import EARLIEST_NS, LATEST_NS, SECOND_NS, grid, log_prior

T = 1_700_000_000 * SECOND_NS


@given(
    st.integers(-2000, 2000),
    st.integers(1, 4000),
    st.sampled_from([1, 5, 10, 15, 60, 300]),
    st.booleans(),
)
def test_splits_lie_in_the_telemetry_in_order_of_time(offset_s: int, length_s: int, step_s: int, quiet: bool) -> None:
    start, end = T, T + length_s * SECOND_NS
    splits = grid(T + offset_s * SECOND_NS, start, end, step_ns=step_s * SECOND_NS, quiet=quiet)
    onsets = [split.onset_ns for split in splits]
    assert onsets == sorted(set(onsets))
    assert onsets
    assert all(start <= split.start_ns <= split.onset_ns <= split.end_ns <= end for split in splits)
    assert all(split.log_prior <= 0 for split in splits)


def test_search_reaches_from_a_quarter_of_an_hour_before_the_alert_to_five_minutes_after() -> None:
    splits = grid(T, T - 3600 * SECOND_NS, T + 3600 * SECOND_NS)
    first, last = splits[0].onset_ns - T, splits[-1].onset_ns - T
    assert -EARLIEST_NS <= first <= -EARLIEST_NS + 30 * SECOND_NS
    assert LATEST_NS - 30 * SECOND_NS <= last <= LATEST_NS
    assert T in [split.onset_ns for split in splits]


def test_short_recording_far_from_the_alert_is_searched_in_full() -> None:
    splits = grid(T, T + 150 * SECOND_NS, T + 230 * SECOND_NS)
    assert [(split.onset_ns - T) // SECOND_NS for split in splits] == [160, 170, 180, 190, 200, 210, 220]


def test_only_a_quiet_recording_allows_a_split_without_a_baseline_of_its_own() -> None:
    without, with_quiet = (grid(T, T, T + 300 * SECOND_NS, quiet=quiet)[0].onset_ns for quiet in (False, True))
    assert (without, with_quiet) == (T + 10 * SECOND_NS, T)


def test_late_alerts_are_likelier_than_early_ones() -> None:
    assert log_prior(T, T) == 0.0
    assert log_prior(T - 60 * SECOND_NS, T) == pytest.approx(-0.5)
    assert log_prior(T + 60 * SECOND_NS, T) == pytest.approx(-1.0)
