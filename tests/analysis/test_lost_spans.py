"""What is known of visits whose spans are lost: what those that arrived tell of them."""

from typing import Any

import numpy as np
import pyarrow as pa
from test_failed_calls import ALERT, MS, SECOND, SERVICES, shares, traces

from hypocenter.analysis.evidence.errors import ErrorOrigin
from hypocenter.analysis.evidence.failed_calls import Said, inherits_failure
from hypocenter.analysis.evidence.log_lines import LogLines
from hypocenter.analysis.evidence.visits import Visits, read_visits
from hypocenter.analysis.onset import Split
from hypocenter.graph.link import link
from hypocenter.semconv import KIND_CLIENT, KIND_SERVER, STATUS_ERROR
from hypocenter.tracer.schema import LOGS, SPANS

PAY, STOCK, WEB = range(3)
LOST = 0.3


def seen(rows: list[dict[str, Any]]) -> tuple[Visits, Said]:
    """Return the visits around the alert, and what their failed calls say."""
    spans = pa.Table.from_pylist([{name: row.get(name) for name in SPANS.names} for row in rows], schema=SPANS)
    visits = read_visits(link(SPANS.empty_table()).visits, link(spans).visits, SERVICES, ALERT)
    assert visits is not None
    return visits, Said.of(visits, spans)


def requests(
    n: int, *, status: int = 0, answer: int = 0, took_ms: int = 9, start_s: int = 0, first: int = 0
) -> list[dict[str, Any]]:
    """Return a request a second: web serves it and calls pay, which takes 8 ms; the call takes ``took_ms``."""
    rows = []
    for number in range(first, first + n):
        start = ALERT + (start_s + number - first) * SECOND
        base = {"trace_id": f"{number:032x}", "adjusted_milli": 1000, "source": "test", "start_ns": start}
        web = {"span_id": "w", "parent_span_id": "u", "service": "web", "name": "GET /", "kind": KIND_SERVER}
        user = {"span_id": "u", "service": "web", "name": "user", "kind": KIND_SERVER, "duration_ns": 60 * MS}
        call = {"span_id": "c", "parent_span_id": "w", "service": "web", "name": "ask pay", "kind": KIND_CLIENT}
        pay = {"span_id": "p", "parent_span_id": "c", "service": "pay", "name": "charge", "kind": KIND_SERVER}
        rows += [base | user | {"status": status}, base | web | {"status": status, "duration_ns": 50 * MS}]
        rows += [base | call | {"status": status, "duration_ns": took_ms * MS}]
        rows += [base | pay | {"status": answer, "duration_ns": 8 * MS}]
    return rows


def thinned(rows: list[dict[str, Any]], *, keep: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return three in ten spans fewer, but all those with an id in ``keep``."""
    draws = np.random.default_rng(4).random(len(rows))
    return [row for row, draw in zip(rows, draws, strict=True) if draw >= LOST or row["span_id"] in keep]


def test_lines_of_a_lost_span_count_for_the_operation_that_writes_such_lines() -> None:
    rows = [*requests(60, start_s=-60), *requests(66, first=60)]
    kept = thinned(rows)
    lines = [
        {"trace_id": row["trace_id"], "span_id": "p", "service": "pay", "time_ns": row["start_ns"], "body": body}
        for row in rows
        if row["span_id"] == "p"
        for body in (("charge begins", "charge done") if row["start_ns"] < ALERT else ("charge begins",))
    ]
    logs = pa.Table.from_pylist([{name: row.get(name) for name in LOGS.names} for row in lines], schema=LOGS)
    visits, said = seen(kept)
    assert visits.orphans > 0.1
    split = Split(ALERT - 60 * SECOND, ALERT, ALERT + 60 * SECOND, 0.0)
    arrived = {row["trace_id"] for row in kept if row["span_id"] == "p"}
    beside_spans = logs.filter(pa.array([trace in arrived for trace in logs["trace_id"].to_pylist()]))
    all_lines, some = (LogLines(visits, LOGS.empty_table(), part, said).score(split) for part in (logs, beside_spans))
    assert all_lines[PAY] > 1.2 * some[PAY] > 10
    assert all_lines[[STOCK, WEB]].tolist() == [0.0, 0.0]


def test_failed_call_whose_caller_is_lost_tells_of_an_open_circuit_breaker() -> None:
    rows = traces(calls={"pay": {}}, count=40)
    rows = [row | ({"parent_span_id": "user"} if row["span_id"] == "root" else {}) for row in rows]
    # Every fifth visit tried the call, and of just those the visit's own span is lost.
    tried = [row for row in rows if int(row["trace_id"], 16) % 5 == 0 and row["span_id"] != "root"]
    visits, said = seen([*tried, *(row for row in rows if int(row["trace_id"], 16) % 5 and row["span_id"] == "root")])
    assert shares(visits, inherits_failure(visits, said)) > 0.85  # the last seconds are not looked at


def test_service_that_passes_failures_on_is_not_blamed_for_calls_whose_answers_are_lost() -> None:
    # Pay answers with a failure that stock gave it.
    def chain(n: int, status: int, start_s: int, first: int) -> list[dict[str, Any]]:
        rows = requests(n, status=status, answer=status, start_s=start_s, first=first)
        asked = [row for row in rows if row["span_id"] == "p"]
        extra = {"parent_span_id": "p", "service": "pay", "name": "ask stock", "kind": KIND_CLIENT, "span_id": "s"}
        return [*rows, *(row | extra | {"peer_service": "stock", "duration_ns": 5 * MS} for row in asked)]

    rows = [*chain(60, 0, -60, 0), *chain(66, STATUS_ERROR, 0, 60)]
    visits, said = seen(thinned(rows, keep=("s",)))
    nats = ErrorOrigin(visits, said).score(Split(ALERT - 60 * SECOND, ALERT, ALERT + 60 * SECOND, 0.0))
    assert said.passes_on.tolist() == [True, False, True]
    assert nats[STOCK] > 10
    assert nats[PAY] == 0.0


def test_caller_that_gave_up_is_blamed_where_the_answer_is_lost_as_well() -> None:
    rows = [*requests(60, start_s=-60), *requests(66, first=60, status=STATUS_ERROR, took_ms=3)]
    visits, said = seen(thinned(rows, keep=("c",)))
    nats = ErrorOrigin(visits, said).score(Split(ALERT - 60 * SECOND, ALERT, ALERT + 60 * SECOND, 0.0))
    assert nats[WEB] > 10
    assert nats[PAY] == 0.0
