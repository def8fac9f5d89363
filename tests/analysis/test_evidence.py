"""Each kind of evidence points at the right service on telemetry small enough to check by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hypocenter.analysis.evidence.bayes import log_bayes_factor, log_gamma, log_onset_factor
from hypocenter.analysis.evidence.errors import ErrorOrigin
from hypocenter.analysis.evidence.finding import Evidence
from hypocenter.analysis.evidence.latency import Latency
from hypocenter.analysis.evidence.log_lines import LogLines
from hypocenter.analysis.evidence.silence import Silence
from hypocenter.analysis.evidence.structure import Structure
from hypocenter.analysis.evidence.visits import Visits, read_visits
from hypocenter.analysis.onset import Split
from hypocenter.graph.link import link
from hypocenter.semconv import KIND_CLIENT, KIND_SERVER, STATUS_ERROR
from hypocenter.tracer.log_templates import templates
from hypocenter.tracer.schema import LOGS, SPANS

SECOND, MS = 10**9, 10**6
ALERT = 1_700_000_000 * SECOND
SERVICES = ["cart", "db", "pay", "web"]
TRACES = 60  # before the onset, and as many after it, a second apart
NOW = Split(ALERT - TRACES * SECOND, ALERT, ALERT + TRACES * SECOND, 0.0)

Change = dict[str, Any]


def table(schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def trace(number: int, start: int, change: Change) -> list[dict[str, Any]]:
    """Return one trace: web calls cart and pay over client spans, cart calls its database db.

    ``change`` may hold own (ms by service), gap (ms by callee), db (ms), skip (callee not called), lost (callee that
    records nothing), status (by span id).
    """
    jitter = 1 + 0.05 * (number % 5)
    own = {"web": 5.0, "cart": 5.0, "pay": 5.0} | change.get("own", {})
    gap = {"cart": 1.0, "pay": 1.0} | change.get("gap", {})
    db = change.get("db", 2.0) * jitter

    def span(
        span_id: str, parent: str | None, service: str, name: str, kind: int, at: float, ms: float
    ) -> dict[str, Any]:
        return {
            "trace_id": f"t{number}",
            "span_id": f"{number}-{span_id}",
            "parent_span_id": f"{number}-{parent}" if parent else None,
            "service": service,
            "name": name,
            "kind": kind,
            "status": change.get("status", {}).get(span_id, 0),
            "start_ns": start + round(at * MS),
            "duration_ns": round(ms * MS),
            "adjusted_milli": 1000,
            "source": "test",
        }

    spans, at = [], 0.0
    for callee in ("cart", "pay"):
        if callee == change.get("skip"):
            continue
        inner = own[callee] * jitter + (db if callee == "cart" else 0.0)
        outer = inner + gap[callee] * jitter
        spans.append(span(f"c-{callee}", "root", "web", f"call {callee}", KIND_CLIENT, at, outer))
        if callee != change.get("lost"):
            spans.append(span(f"s-{callee}", f"c-{callee}", callee, "serve", KIND_SERVER, at, inner))
            if callee == "cart":
                query = span("db", "s-cart", "cart", "SELECT", KIND_CLIENT, at, db)
                spans.append(query | {"peer_service": "db", "db_system": "postgresql"})
        at += outer
    return [span("root", None, "web", "GET /", KIND_SERVER, 0.0, at + own["web"] * jitter), *spans]


def spans_of(before: Change, after: Change) -> pa.Table:
    rows = []
    for i in range(-TRACES, TRACES + 6):  # the last seconds of a recording are dropped
        rows += trace(i, ALERT + i * SECOND, after if i >= 0 else before)
    return table(SPANS, rows)


def visits_of(before: Change, after: Change) -> Visits:
    incident = link(spans_of(before, after)).visits
    visits = read_visits(incident.schema.empty_table(), incident, SERVICES, ALERT)
    assert visits is not None
    return visits


def scores(kind: Callable[[Visits], Evidence], after: Change, before: Change | None = None) -> dict[str, float]:
    evidence = kind(visits_of(before or {}, after))
    assert evidence.not_checked is None
    return {s: round(float(v), 3) for s, v in zip(SERVICES, evidence.score(NOW), strict=True) if v > 0.05}


def told(kind: Callable[[Visits], Evidence], after: Change, service: str) -> tuple[str, str, str]:
    finding = kind(visits_of({}, after)).tell(NOW, SERVICES.index(service))
    return finding.entity_kind, finding.entity, finding.text


SLOW = {"own": {"pay": 80.0}}


def test_slow_handler_is_found_by_its_own_time() -> None:
    assert list(scores(Latency, SLOW)) == ["pay"]
    assert told(Latency, SLOW, "pay")[:2] == ("service", "pay")


def test_delay_on_the_way_to_one_callee_blames_the_edge() -> None:
    assert list(scores(Latency, {"gap": {"cart": 200.0}})) == ["cart"]
    assert told(Latency, {"gap": {"cart": 200.0}}, "cart")[:2] == ("edge", "web -> cart")


def test_delay_of_all_calls_blames_the_stalled_caller() -> None:
    stalled = scores(Latency, {"gap": {"cart": 200.0, "pay": 200.0}})
    assert max(stalled, key=lambda s: stalled[s]) == "web"


def test_slow_database_is_found_though_it_records_no_spans() -> None:
    slow = scores(Latency, {"db": 300.0})
    assert list(slow) == ["db"]
    assert told(Latency, {"db": 300.0}, "db")[:2] == ("service", "db")


def test_what_slows_down_everywhere_is_weather_and_what_is_slower_still_is_found() -> None:
    busy = {"own": {"web": 25.0, "cart": 25.0, "pay": 25.0}, "db": 10.0}
    assert max(scores(Latency, busy).values(), default=0.0) < 1.5
    found = scores(Latency, {"own": {"web": 25.0, "cart": 25.0, "pay": 400.0}, "db": 10.0})
    assert max(found, key=lambda s: found[s]) == "pay"
    assert found["pay"] > 5.0


def test_where_spans_are_lost_the_two_operations_above_tell_the_way_to_a_visit() -> None:
    whole = spans_of({}, {}).to_pylist()
    # Of every other trace the root is lost; the query lies four below it.
    cut = [row for row in whole if row["name"] != "GET /" or int(row["trace_id"][1:]) % 2]
    incident = link(table(SPANS, cut)).visits
    visits = read_visits(incident.schema.empty_table(), incident, SERVICES, ALERT)
    assert visits is not None
    assert visits.orphans > 0.05
    of = {name: visits.path[visits.operation == visits.operations.index(name)] for name in ("SELECT", "call cart")}
    assert {name: len(np.unique(paths)) for name, paths in of.items()} == {"SELECT": 1, "call cart": 2}


def test_unchanged_latency_gives_no_score() -> None:
    assert scores(Latency, {}) == {}


def test_too_few_spans_are_not_checked_rather_than_healthy() -> None:
    incident = link(table(SPANS, [row for i in range(3) for row in trace(i, ALERT + 9 * i * SECOND, {})])).visits
    visits = read_visits(incident.schema.empty_table(), incident, SERVICES, ALERT)
    assert visits is not None
    assert Latency(visits).not_checked == "only 18 spans"


def test_vanished_call_marks_the_operation_that_made_it() -> None:
    assert list(scores(Structure, {"skip": "pay"})) == ["web"]
    assert told(Structure, {"skip": "pay"}, "web")[2] == "GET / calls call pay: 100% of visits before, 0% now"


def test_callee_without_server_spans_is_silent_and_its_caller_is_not_blamed() -> None:
    assert list(scores(Silence, {"lost": "pay"})) == ["pay"]
    assert scores(Structure, {"lost": "pay"}) == {}
    assert told(Silence, {"lost": "pay"}, "pay")[:2] == ("edge", "web -> pay")


def test_client_operation_that_calls_several_services_is_silent_toward_one_of_them() -> None:
    def of_one_name(row: dict[str, Any]) -> dict[str, Any]:
        called = row["name"].removeprefix("call ")
        return row if called == row["name"] else row | {"name": "POST", "peer_service": called}

    spans = table(SPANS, [of_one_name(row) for row in spans_of({}, {"lost": "pay"}).to_pylist()])
    incident = link(spans).visits
    visits = read_visits(incident.schema.empty_table(), incident, SERVICES, ALERT)
    assert visits is not None
    nats = dict(zip(SERVICES, Silence(visits).score(NOW), strict=True))
    assert [service for service, value in nats.items() if value > 0] == ["pay"]


def test_error_is_blamed_on_the_deepest_span_that_has_one() -> None:
    failing = {"status": dict.fromkeys(("root", "c-pay", "s-pay"), STATUS_ERROR)}
    assert list(scores(ErrorOrigin, failing)) == ["pay"]
    assert told(ErrorOrigin, failing, "pay") == (
        "service",
        "pay",
        "errors begin in serve: 0.0% of visits before, 100.0% now",
    )


def test_call_that_fails_although_its_server_is_well_blames_the_way_to_the_callee() -> None:
    assert list(scores(ErrorOrigin, {"status": {"c-pay": STATUS_ERROR, "root": STATUS_ERROR}})) == ["pay"]


def test_caller_that_gives_up_sooner_than_answers_usually_come_is_to_blame_itself() -> None:
    failing = {"c-pay": STATUS_ERROR}
    assert list(scores(ErrorOrigin, {"status": failing, "gap": {"pay": -2.0}})) == ["web"]
    # Held up for long, it is the callee's side that failed.
    held_up = {"status": failing, "own": {"pay": 500.0}, "gap": {"pay": -100.0}}
    assert list(scores(ErrorOrigin, held_up)) == ["pay"]


def test_errors_that_were_there_before_are_no_evidence() -> None:
    failing = {"status": {"s-pay": STATUS_ERROR}}
    assert scores(ErrorOrigin, failing, before=failing) == {}


def test_spans_without_status_leave_errors_unchecked() -> None:
    assert ErrorOrigin(visits_of({}, {})).not_checked == "no span carries a status"


def lines(bodies: Sequence[str], numbers: range, severity: int = 9) -> pa.Table:
    """Return what the visits of cart write in the traces of ``numbers``."""
    rows = [
        {
            "time_ns": ALERT + i * SECOND,
            "trace_id": f"t{i}",
            "span_id": f"{i}-s-cart",
            "body": f"{body} {i}",
            "severity": severity,
            "service": "cart",
            "source": "test",
        }
        for i in numbers
        for body in bodies
    ]
    return table(LOGS, rows)


BEFORE, AFTER = range(-TRACES, 0), range(TRACES)


def log_evidence(*parts: pa.Table) -> LogLines:
    return LogLines(visits_of({}, {}), LOGS.empty_table(), pa.concat_tables(parts))


def test_missing_usual_log_line_marks_its_writer() -> None:
    found = log_evidence(lines(["cart loaded", "cart done"], BEFORE), lines(["cart loaded"], AFTER))
    assert list(np.flatnonzero(found.score(NOW) > 0.05)) == [SERVICES.index("cart")]
    assert found.tell(NOW, 0).text == "serve writes “cart done”: 100% of visits before, 0% now"


def test_end_of_an_outage_is_no_fault() -> None:
    failing = pa.concat_tables([lines(["cart loaded"], BEFORE), lines(["cannot load"], BEFORE, severity=17)])
    found = log_evidence(failing, lines(["cart loaded", "cart done"], AFTER))
    assert found.score(NOW).tolist() == [0.0, 0.0, 0.0, 0.0]


def test_logs_without_trace_context_are_not_checked_per_visit() -> None:
    bare = lines(["cart loaded"], AFTER)
    bare = bare.set_column(bare.schema.get_field_index("span_id"), "span_id", pa.nulls(len(bare), pa.string()))
    assert log_evidence(bare).not_checked == "0 log lines name a span of the incident"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("12:00:01.5 INFO c.Cart#53 TraceID: ab12 SpanID: cd [get][cart id: 17]", "c.Cart#53 INFO Cart get"),
        ("user 42 bought 3 items", "user bought items"),
        ('GET {"a": 1} done (17 ms)', "GET done"),
        ("", ""),
    ],
)
def test_template_keeps_the_constant_words(body: str, expected: str) -> None:
    assert templates(pa.array([body, body])).to_pylist() == [expected, expected]


def test_bayes_factor_matches_a_hand_computed_value() -> None:
    # One trial each, hit against miss: B(1.5,.5)^2 / (B(1.5,1.5) B(.5,.5)) = (pi/2)^2 / (pi/8 * pi) = 2.
    one, zero = np.array([1.0]), np.array([0.0])
    assert log_bayes_factor(one, one, zero, one) == pytest.approx([np.log(2.0)])


def test_log_gamma_matches_factorials() -> None:
    assert np.exp(log_gamma(np.array([1.0, 2.0, 5.0, 0.5]))) == pytest.approx([1.0, 1.0, 24.0, np.sqrt(np.pi)])


@pytest.mark.parametrize(
    ("hits", "changed"),
    [
        ((50, 50, 0), True),  # as always, then gone
        ((50, 0, 0), False),  # the quiet recording differs, the onset changes nothing
        ((50, 0, 50), False),  # an outage ends
        ((50, 50, 50), False),
    ],
)
def test_only_a_change_at_the_onset_is_evidence(hits: tuple[int, int, int], changed: bool) -> None:
    counts = np.array(hits, float)[:, None]
    assert (log_onset_factor(counts, np.full((3, 1), 50.0)) > 3)[0] == changed
