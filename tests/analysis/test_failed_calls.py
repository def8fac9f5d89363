"""What failed calls say, and which visits only pass a failure on."""

from typing import Any

import numpy as np
import pyarrow as pa

from hypocenter.analysis.evidence.failed_calls import Said, inherits_failure
from hypocenter.analysis.evidence.visits import Visits, read_visits
from hypocenter.graph.link import link
from hypocenter.semconv import KIND_CLIENT, KIND_SERVER, STATUS_ERROR
from hypocenter.tracer.schema import SPANS

SECOND, MS = 10**9, 10**6
ALERT = 1_700_000_000 * SECOND
SERVICES = ["pay", "stock", "web"]


def traces(*, calls: dict[str, dict[str, Any] | None], count: int = 40, fails: bool = False) -> list[dict[str, Any]]:
    """Return visits of web, one a second from the alert on, that call each callee in turn.

    A callee's value is None for a call that is well, else the fields of its failed client span; ``fails`` makes the
    visit itself fail.
    """
    rows = []
    for number in range(count):
        start = ALERT + number * SECOND
        base = {"trace_id": f"{number:032x}", "adjusted_milli": 1000, "source": "test", "status": 0}
        failed = fails or any(fields is not None for fields in calls.values())
        web = {"service": "web", "name": "GET /", "kind": KIND_SERVER, "start_ns": start, "duration_ns": 50 * MS}
        rows.append(base | web | {"span_id": "root", "status": STATUS_ERROR if failed else 0})
        for at, (callee, fields) in enumerate(calls.items()):
            call = {
                "service": "web",
                "name": callee,
                "kind": KIND_CLIENT,
                "peer_service": callee,
                "duration_ns": 9 * MS,
            }
            call |= {"span_id": f"c-{callee}", "parent_span_id": "root", "start_ns": start + at * 10 * MS}
            rows.append(base | call | ({} if fields is None else {"status": STATUS_ERROR} | fields))
    return rows


def seen(rows: list[dict[str, Any]]) -> tuple[Visits, Said]:
    spans = pa.Table.from_pylist([{name: row.get(name) for name in SPANS.names} for row in rows], schema=SPANS)
    nothing = link(SPANS.empty_table()).visits
    visits = read_visits(nothing, link(spans).visits, SERVICES, ALERT)
    assert visits is not None
    return visits, Said.of(visits, spans)


def shares(visits: Visits, mask: np.ndarray) -> float:
    """Return the share of the entry visits of web that are marked."""
    entries = visits.is_server
    return float(mask[entries].mean())


def test_visit_with_a_failing_call_passes_it_on() -> None:
    visits, said = seen(traces(calls={"pay": {}, "stock": None}))
    assert shares(visits, inherits_failure(visits, said)) == 1.0


def test_visit_that_fails_by_itself_passes_nothing_on() -> None:
    visits, said = seen(traces(calls={"pay": None}, fails=True))
    assert shares(visits, inherits_failure(visits, said)) == 0.0


def test_visits_behind_an_open_circuit_breaker_pass_on_what_opened_it() -> None:
    rows = traces(calls={"pay": {}}, count=40)
    # All but every fifth fail without a call.
    rows = [row for row in rows if row["span_id"] == "root" or int(row["trace_id"], 16) % 5 == 0]
    visits, said = seen(rows)
    assert shares(visits, inherits_failure(visits, said)) >= 0.9  # the last seconds are not looked at


def test_lost_spans_do_not_hide_what_opened_a_circuit_breaker() -> None:
    rows = traces(calls={"pay": {}}, count=40)
    # Each visit has a way to it of its own, of which only every fifth is left, and with it the call that failed.
    parents = [{"span_id": "above", "parent_span_id": f"gone-{i % 7}", "name": f"page {i % 7}"} for i in range(40)]
    ways = [row | above for row, above in zip(traces(calls={}, count=40), parents, strict=True)]
    rows = [row | {"parent_span_id": "above"} if row["span_id"] == "root" else row for row in rows]
    rows = [row for row in rows if row["span_id"] == "root" or int(row["trace_id"], 16) % 7 == 0]
    visits, said = seen([*rows, *(way | {"service": "stock", "status": 0} for way in ways)])
    assert visits.orphans > 0.3
    of_web = (visits.service == SERVICES.index("web")) & visits.is_server
    assert inherits_failure(visits, said)[of_web].mean() >= 0.9


def test_rare_failures_of_a_callee_explain_no_others() -> None:
    rows = traces(calls={"pay": {}}, count=200)
    rows = [row for row in rows if row["span_id"] == "root" or int(row["trace_id"], 16) % 50 == 0]
    visits, said = seen(rows)
    assert shares(visits, inherits_failure(visits, said)) < 0.2


def test_caller_that_resolves_no_name_fails_by_its_own_doing() -> None:
    unresolved = {"status_message": "ConnectError: [Errno -3] Temporary failure in name resolution"}
    visits, said = seen(traces(calls={"pay": unresolved, "stock": unresolved}))
    assert said.unresolved.sum() == 80
    assert shares(visits, inherits_failure(visits, said)) == 0.0


def test_callee_without_a_name_is_gone_while_others_have_theirs() -> None:
    visits, said = seen(traces(calls={"pay": {"error_type": "ENOTFOUND"}, "stock": None}))
    assert said.unresolved.sum() == 0
    assert shares(visits, inherits_failure(visits, said)) == 1.0


def test_call_that_is_not_let_in_fails_by_its_callers_doing() -> None:
    _, said = seen(traces(calls={"pay": {"http_status": 401}, "stock": {"http_status": 503}}))
    assert (said.refused.sum(), said.timed_out.sum()) == (40, 0)
    only, said = seen(traces(calls={"pay": {"http_status": 403}}))
    assert shares(only, inherits_failure(only, said)) == 0.0


def test_failed_call_tells_that_it_timed_out_in_words_of_several_libraries() -> None:
    words = ("ReadTimeout: timed out", "DEADLINE_EXCEEDED", "The operation was aborted due to timeout", "refused")
    found = [seen(traces(calls={"pay": {"status_message": text}}))[1].timed_out.sum() for text in words]
    assert found == [40, 40, 40, 0]
