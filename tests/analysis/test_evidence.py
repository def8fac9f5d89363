"""Each kind of evidence points at the right service on telemetry small enough to check by hand."""

import numpy as np
import pandas as pd
import pytest

from hypocenter.analysis.evidence import latency, log_lines, structure
from hypocenter.analysis.evidence.bayes import log_bayes_factor
from hypocenter.analysis.evidence.finding import Windows
from hypocenter.analysis.evidence.resources import robust_shift

MS = 10**6


def visits(n: int, gap_ms: dict[str, float], own_ms: dict[str, float], skip: str | None = None) -> pd.DataFrame:
    """Return n traces in which ``web`` calls cart and pay over client spans."""
    rows = []
    for i in range(n):
        jitter = 1 + 0.05 * (i % 5)
        rows.append(("web", "GET /", "", "", f"{i}", "root", None, own_ms["web"] * jitter, 0.0, False, False))
        for callee in ("cart", "pay"):
            if callee == skip:
                continue
            inner = own_ms[callee] * jitter
            outer = inner + gap_ms[callee] * jitter
            rows.append(
                ("web", f"call {callee}", "GET /", "web", f"{i}", f"c-{callee}", "root", outer - inner, 0.0, True, True)
            )
            rows.append(
                (
                    callee,
                    "serve",
                    f"call {callee}",
                    "web",
                    f"{i}",
                    f"s-{callee}",
                    f"c-{callee}",
                    inner,
                    outer,
                    True,
                    False,
                )
            )
    names = ["service", "operation", "parent_operation", "parent_service", "trace_id", "span_id", "parent_span_id"]
    frame = pd.DataFrame(rows, columns=[*names, "exclusive_ns", "parent_duration_ns", "has_parent", "has_remote_child"])
    frame["exclusive_ns"] *= MS
    frame["duration_ns"] = frame.exclusive_ns
    frame["parent_duration_ns"] *= MS
    return frame


QUIET = {"cart": 1.0, "pay": 1.0}
OWN = {"web": 5.0, "cart": 5.0, "pay": 5.0}
NOTHING = visits(0, QUIET, OWN)


def best(score: dict[str, float]) -> str:
    return max(score, key=lambda service: score[service])


def test_slow_handler_is_found_by_its_own_time() -> None:
    windows = Windows(visits(60, QUIET, OWN), NOTHING, visits(60, QUIET, OWN | {"pay": 80.0}))
    assert best(latency.weigh(windows).score) == "pay"


def test_network_delay_of_one_callee_blames_the_callee_not_the_caller() -> None:
    windows = Windows(visits(60, QUIET, OWN), NOTHING, visits(60, QUIET | {"cart": 200.0}, OWN))
    assert best(latency.weigh(windows).score) == "cart"


def test_delay_of_all_calls_blames_the_stalled_caller() -> None:
    windows = Windows(visits(60, QUIET, OWN), NOTHING, visits(60, {"cart": 200.0, "pay": 200.0}, OWN))
    assert best(latency.weigh(windows).score) == "web"


def test_unchanged_latency_gives_no_score() -> None:
    same = visits(60, QUIET, OWN)
    assert latency.weigh(Windows(same, NOTHING, same)).score == {}


def test_too_few_spans_are_not_checked_rather_than_healthy() -> None:
    few = visits(3, QUIET, OWN)
    finding = latency.weigh(Windows(few, few, few))
    assert (finding.score, finding.not_checked) == ({}, "only 15 spans in the incident window")


def test_vanished_child_call_marks_the_operation_that_made_it() -> None:
    windows = Windows(visits(60, QUIET, OWN), NOTHING, visits(60, QUIET, OWN, skip="pay"))
    finding = structure.weigh(windows)
    assert list(finding.score) == ["web"]
    assert finding.text["web"] == "GET / calls call pay: 100% of visits before, 0% now"


def test_missing_usual_log_line_marks_its_writer() -> None:
    base, now = visits(40, QUIET, OWN), visits(40, QUIET, OWN)

    def logs(frame: pd.DataFrame, bodies: list[str]) -> pd.DataFrame:
        served = frame[frame.service == "cart"]
        rows = [
            (0, t, s, f"{b} {i}")
            for i, (t, s) in enumerate(zip(served.trace_id, served.span_id, strict=True))
            for b in bodies
        ]
        return pd.DataFrame(rows, columns=["time_ns", "trace_id", "span_id", "body"])

    quiet, after = logs(base, ["INFO cart loaded", "INFO cart done"]), logs(now, ["INFO cart loaded"])
    finding = log_lines.weigh(Windows(base, base, now), quiet, quiet.head(0), after)
    assert list(finding.score) == ["cart"]
    assert finding.text["cart"] == "serve writes “INFO cart done”: 100% of visits before, 0% now"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("12:00:01.5 INFO c.Cart#53 TraceID: ab12 SpanID: cd [get][cart id: 17]", "c.Cart#53 INFO Cart get"),
        ("user 42 bought 3 items", "user bought items"),
        ('GET {"a": 1} done (17 ms)', "GET done"),
    ],
)
def test_template_keeps_the_constant_words(body: str, expected: str) -> None:
    assert log_lines.template(body) == expected


def test_bayes_factor_matches_a_hand_computed_value() -> None:
    # One trial each, hit against miss: B(1.5,.5)^2 / (B(1.5,1.5) B(.5,.5)) = (pi/2)^2 / (pi/8 * pi) = 2.
    one, zero = np.array([1.0]), np.array([0.0])
    assert log_bayes_factor(one, one, zero, one) == pytest.approx([np.log(2.0)])


def test_robust_shift_is_unit_free_and_unknown_for_constant_zero() -> None:
    normal = np.array([[1.0, 2, 3, 4, 5], [7, 7, 7, 7, 7], [0, 0, 0, 0, 0], [np.nan] * 5])
    abnormal = np.array([[13.0], [14], [9], [1]])
    shift = robust_shift(normal, abnormal)
    assert shift == pytest.approx([5.0, 100.0, np.nan, np.nan], nan_ok=True)
    assert robust_shift(normal * 1e9, abnormal * 1e9) == pytest.approx(shift, nan_ok=True)
