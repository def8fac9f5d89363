"""Rate, errors and durations before and since the onset, the metrics that moved, and the traces that show it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import small_incident as small

from hypocenter.analysis.case import Case
from hypocenter.report.traffic import (
    Red,
    calls_to,
    change,
    exemplary_traces,
    is_worse,
    moved_metrics,
    panels,
    red,
    sides,
)
from hypocenter.tracer.batch import Batch

EMPTY = Case(Batch(), small.ALERT_NS)


@pytest.fixture(scope="module")
def case() -> Case:
    return small.case()


def test_red_counts_what_starts_in_the_half_open_window() -> None:
    calls = pd.DataFrame(
        {"start_ns": [0, 10**9, 2 * 10**9], "duration_ns": [10**6, 3 * 10**6, 9], "is_error": [False, True, True]}
    )
    assert red(calls, 0, 2 * 10**9) == Red(2, 1.0, 0.5, 2.0, pytest.approx(2.9))
    assert red(calls, 5 * 10**9, 6 * 10**9) is None


def test_edge_takes_the_client_side_and_a_database_has_no_other(case: Case) -> None:
    served = calls_to(case, "payment").duration_ns.median()
    waited = calls_to(case, "payment", "checkout").duration_ns.median()
    assert waited - served == pytest.approx(3e6)
    assert len(calls_to(case, "orders-db")) == 480
    assert calls_to(case, "nobody").empty


def test_change_tells_only_what_changed(case: Case) -> None:
    assert change(case, "payment", small.ONSET_NS) == "errors 0.0% → 25.0%, p95 44.5 ms → 514 ms"
    assert change(case, "catalog", small.ONSET_NS) == "rate, errors and duration as before (p95 10.6 ms)"
    assert change(case, "nobody", small.ONSET_NS) is None
    assert change(EMPTY, "payment", small.ONSET_NS) is None


def test_change_compares_with_the_baseline_where_nothing_precedes(case: Case) -> None:
    start = small.START_NS
    spans = case.telemetry.table("spans")
    is_late = spans["start_ns"].to_numpy() >= small.ONSET_NS
    late, early = spans.filter(is_late), spans.filter(~is_late)
    with_baseline = Case(Batch({"spans": late}), small.ALERT_NS, Batch({"spans": early}))
    assert change(with_baseline, "payment", start) == "errors 0.0% → 25.0%, p95 44.5 ms → 514 ms"
    alone = Case(Batch({"spans": late}), small.ALERT_NS)
    assert (change(alone, "payment", start) or "").endswith("no calls before to compare with")


def test_panels_keep_silence_as_zero_rate_and_unknown_duration(case: Case) -> None:
    second = (case.telemetry.table("spans")["start_ns"].to_numpy() - small.START_NS) // 10**9
    silent = Case(Batch({"spans": case.telemetry.table("spans").filter((second < 100) | (second >= 200))}), 0)
    rate, errors, duration = panels(silent, "payment", small.ONSET_NS)
    middle = pd.Timestamp(small.START_NS + 150 * 10**9, unit="ns", tz="UTC")
    at = rate.frame.index.get_indexer([middle], method="ffill")[0]
    assert rate.frame["rate"].iloc[at] == 0.0
    assert np.isnan(errors.frame["errors"].iloc[at]) and np.isnan(duration.frame["p95"].iloc[at])
    assert panels(silent, "nobody", small.ONSET_NS) == []


def test_band_is_where_the_line_lay_before_the_onset(case: Case) -> None:
    _, _, duration = panels(case, "payment", small.ONSET_NS)
    low, high = duration.band or (0.0, 0.0)
    assert 30 < low < high < 60
    assert duration.frame["p95"].iloc[-1] > 400


def test_only_metrics_that_moved_are_shown(case: Case) -> None:
    assert [p.title for p in moved_metrics(case, "payment", small.ONSET_NS)] == ["container_cpu_usage"]
    assert moved_metrics(case, "web", small.ONSET_NS) == []
    assert moved_metrics(EMPTY, "payment", small.ONSET_NS) == []


def test_bad_trace_fails_at_the_suspect_and_the_good_one_is_usual(case: Case) -> None:
    bad, good = exemplary_traces(case, "payment", small.ONSET_NS)
    assert bad is not None and good is not None
    assert (len(bad.spans), set(bad.spans[bad.spans.service == "payment"].is_error)) == (8, {False, True})
    assert bad.spans.start_ns.min() >= small.ONSET_NS > good.spans.start_ns.max()
    assert good.duration_ms < 100 < bad.duration_ms
    assert exemplary_traces(case, "nobody", small.ONSET_NS) == (None, None)


def test_only_requests_that_pass_a_call_are_compared_where_asked() -> None:
    telemetry = small.telemetry()
    spans = telemetry.table("spans")
    # Every sixteenth request never reaches checkout.
    short = pc.ends_with(spans["trace_id"], "0")
    below = pc.is_in(spans["service"], pa.array(["checkout", "payment"]))
    case = small.case(Batch(telemetry.tables | {"spans": spans.filter(pc.invert(pc.and_(short, below)))}))
    counts = [
        sum(side.count for side in sides(case, "web", small.ONSET_NS, through=through) if side is not None)
        for through in (None, ("checkout", "payment"))
    ]
    before, since = sides(case, "web", small.ONSET_NS, through=("checkout", "payment"))
    assert counts == [480, 450]
    assert sides(case, "web", small.ONSET_NS, through=("catalog", "payment")) == (None, None)
    assert is_worse(before, since)
    assert not is_worse(before, before)
    assert (is_worse(before, None), is_worse(None, since), is_worse(None, None)) == (True, False, False)
