"""What the page shows below the answer: words and tables for every figure, the log, the changes, the coverage."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_incident as small

from hypocenter.analysis.case import Case
from hypocenter.analysis.ranking import Candidate
from hypocenter.figures.look import SUSPECT
from hypocenter.incident import RankedIncident
from hypocenter.report.sections import Page, build
from hypocenter.tracer.batch import Batch


@pytest.fixture(scope="module")
def page() -> Page:
    incident = RankedIncident(small.ranking(), small.case())
    return build(incident.ranking, incident.case, incident.graph)


def test_every_figure_has_a_table_that_says_the_same(page: Page) -> None:
    assert [d.name for d in page.drawings] == ["map", "spread", "timeline-0", "timeline-1", "trace-bad", "trace-good"]
    assert page.map is not None
    assert page.map.rows[0][:5] == ("checkout", "payment", "480", "1", "9.4%")
    suspect = {row[0]: row[1:] for row in page.timelines[0].rows}
    assert suspect["share of calls with errors (mean)"] == ("0.0%", "25.3%", "30.0%")
    assert list(suspect)[-1] == "container_cpu_usage (median)"
    bad = page.traces[0].rows
    assert [(row[0], row[4]) for row in bad][-2:] == [("payment", "error"), ("payment", "")]


def test_calls_to_a_suspect_that_has_no_spans_stand_out_in_its_traces() -> None:
    database = Candidate("orders-db", "database", "orders-db", 0.9, small.ONSET_NS, 5.0, path=("orders-db", "payment"))
    page = build(replace(small.ranking(), candidates=(database,)), small.case())
    for drawing in page.traces:
        bars = drawing.figure.data[0]
        red = [row for row, colour in zip(drawing.rows, bars.marker.color, strict=True) if colour == SUSPECT]
        assert [row[:2] for row in red] == [("payment", "SELECT orders")]


def test_spread_tells_the_ways_with_their_chance_and_what_changed(page: Page) -> None:
    assert page.spread is not None
    assert page.spread.rows == (
        ("payment", "checkout", "87%", "errors 0.0% → 25.0%, p95 47.5 ms → 517 ms"),
        ("checkout", "web", "87%", "errors 0.0% → 25.0%, p95 63.5 ms → 533 ms"),
    )


def test_log_shows_what_became_more_frequent_with_numbers_taken_as_the_same() -> None:
    logs = [
        {"time_ns": small.ONSET_NS + s, "severity": severity, "body": body, "service": service}
        for s, severity, body, service in (
            (-9, 17, "slow disk", "payment"),
            (1, 17, "slow disk", "payment"),
            (2, 17, "order 17 failed after 1.5 s", "payment"),
            (3, 17, "order 18 failed after 0.2 s", "payment"),
            (4, 9, "order 19 done", "payment"),
            (5, 17, "order 20 failed", "web"),
        )
    ]
    case = Case(Batch({"logs": small.table("logs", logs)}), small.ALERT_NS)
    assert build(small.ranking(), case).logs == (("2", "0", "2023-11-14 22:18:20 UTC", "order 17 failed after 1.5 s"),)


def test_last_change_of_the_suspect_is_marked_beside_onset_and_alert(page: Page) -> None:
    marks = [a.text for a in page.timelines[0].figure.layout.annotations if a.yref == "paper" and a.y == 1]
    assert marks[-3:] == ["rollout", "onset", "alert"]
    assert page.events == (("2023-11-14 22:17:40 UTC", "rollout", "Deployment payment", page.events[0][3]),)
    assert page.events[0][3] == "ScalingReplicaSet payment: scaled up to 1"


def test_coverage_adds_up_to_what_was_read(page: Page) -> None:
    assert dict(page.coverage) == {
        "spans around the incident": "3,840",
        "points around the incident": "192",
        "logs around the incident": "45",
        "events around the incident": "1",
        "objects around the incident": "0",
        "spans of the baseline recording": "0",
        "calls linked": "2,400",
        "share of spans that the map explains": "100.0%",
    }


def test_case_of_nothing_gives_an_empty_page() -> None:
    page = build(small.ranking(), Case(Batch(), small.ALERT_NS))
    assert (page.window, page.drawings, page.logs, page.events) == ("no spans or metrics", (), (), ())
