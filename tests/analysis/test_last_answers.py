"""The answer that came last before a failure of the caller's own: weak evidence against who gave it."""

import pyarrow as pa
import pytest

from hypocenter.analysis.evidence.answers import LastAnswers
from hypocenter.analysis.evidence.errors import ErrorOrigin
from hypocenter.analysis.evidence.failed_calls import Said
from hypocenter.analysis.evidence.visits import Visits, read_visits
from hypocenter.analysis.onset import Split
from hypocenter.graph.link import link
from hypocenter.semconv import KIND_CLIENT, KIND_SERVER, STATUS_ERROR
from hypocenter.tracer.schema import SPANS

SECOND, MS = 10**9, 10**6
ALERT = 1_700_000_000 * SECOND
NOW = Split(ALERT - 60 * SECOND, ALERT, ALERT + 60 * SECOND, 0.0)
SERVICES = ["pay", "price", "web"]


def visit(
    number: int, start_ns: int, calls: tuple[str, ...], *, fails: bool, failing: str = ""
) -> list[dict[str, object]]:
    """Return a visit of web that calls one service after the other; the call of ``failing`` fails."""
    row = dict.fromkeys(SPANS.names) | {"trace_id": f"t{number}", "adjusted_milli": 1000, "source": "test", "status": 0}
    root = {"span_id": "root", "service": "web", "name": "POST /", "kind": KIND_SERVER, "start_ns": start_ns}
    spans = [row | root | {"duration_ns": 90 * MS, "status": STATUS_ERROR if fails else 0}]
    for i, callee in enumerate(calls):
        at = {"start_ns": start_ns + (1 + 20 * i) * MS, "duration_ns": 10 * MS}
        at["status"] = STATUS_ERROR if callee == failing else 0
        client = {"span_id": f"c{i}", "parent_span_id": "root", "service": "web", "name": f"ask {callee}"}
        served = {"span_id": f"s{i}", "parent_span_id": f"c{i}", "service": callee, "name": "answer"}
        spans += [row | at | client | {"kind": KIND_CLIENT}, row | at | served | {"kind": KIND_SERVER}]
    return spans


def visits_of(after: list[tuple[tuple[str, ...], bool]], failing: str = "") -> tuple[Visits, Said]:
    """Return a visit a second, well before the alert; after it those of ``after`` (calls, whether it fails) in turn."""
    rows = []
    for i in range(126):
        calls, fails = (("price", "pay"), False) if i < 60 else after[i % len(after)]
        rows += visit(i, ALERT + (i - 60) * SECOND, calls, fails=fails, failing=failing if i >= 60 else "")
    spans = pa.Table.from_pylist(rows, SPANS)
    linked = link(spans).visits
    visits = read_visits(linked.schema.empty_table(), linked, SERVICES, ALERT)
    assert visits is not None
    return visits, Said.of(visits, spans)


def test_callee_whose_answer_came_last_before_the_failures_is_suspected_behind_the_caller() -> None:
    visits, said = visits_of([(("price",), True), (("price", "pay"), False)])
    found = LastAnswers(visits, said)
    pay, price, web = found.score(NOW)
    assert (pay, price, web) == (0.0, pytest.approx(3.0), 0.0)
    assert ErrorOrigin(visits, said).score(NOW)[2] > 2 * price
    told = found.tell(NOW, SERVICES.index("price"))
    assert told.text == (
        "its answer came last before 100% of the failures that begin in POST / of web; what it held was not checked"
    )
    assert (told.entity, told.entity_kind) == ("price", "service")


def test_each_callee_is_suspected_for_its_share_of_the_failures() -> None:
    found = LastAnswers(*visits_of([(("price",), True), (("price",), True), (("price", "pay"), True)]))
    assert found.score(NOW).tolist() == pytest.approx([1.0, 2.0, 0.0])


def test_failures_before_any_answer_suspect_nobody() -> None:
    visits, said = visits_of([((), True), (("price", "pay"), False)])
    assert LastAnswers(visits, said).score(NOW).tolist() == [0.0, 0.0, 0.0]


def test_failure_that_a_callee_passed_on_suspects_no_other_callee() -> None:
    visits, said = visits_of([(("price", "pay"), True)], failing="pay")
    assert LastAnswers(visits, said).score(NOW).tolist() == [0.0, 0.0, 0.0]


def test_visits_without_calls_are_not_checked() -> None:
    visits, said = visits_of([((), False)])
    assert LastAnswers(visits, said).not_checked is None
    rows = [row for i in range(126) for row in visit(i, ALERT + (i - 60) * SECOND, (), fails=False)]
    linked = link(pa.Table.from_pylist(rows, SPANS)).visits
    alone = read_visits(linked.schema.empty_table(), linked, SERVICES, ALERT)
    assert alone is not None
    assert LastAnswers(alone).not_checked == "no visit calls another service"
