"""A surge of requests from outside, told from what retries and lost spans look like."""

import numpy as np
import pyarrow as pa

from hypocenter.analysis.evidence.traffic import Traffic
from hypocenter.analysis.evidence.visits import read_visits
from hypocenter.analysis.onset import Split
from hypocenter.graph.link import link
from hypocenter.semconv import KIND_CLIENT, KIND_SERVER
from hypocenter.tracer.schema import SPANS

SECOND = 10**9
ALERT = 1_700_000_000 * SECOND
NOW = Split(ALERT - 60 * SECOND, ALERT, ALERT + 60 * SECOND, 0.0)
SERVICES = ["cart", "web"]


def request(number: int, start_ns: int, calls: int) -> list[dict[str, object]]:
    """Return a request to web that calls cart some times."""
    row = dict.fromkeys(SPANS.names) | {"trace_id": f"t{number}", "adjusted_milli": 1000, "source": "test", "status": 0}
    row |= {"start_ns": start_ns, "duration_ns": 10**6}
    spans = [row | {"span_id": f"{number}", "service": "web", "name": "GET /", "kind": KIND_SERVER}]
    for i in range(calls):
        client, parent = f"{number}-{i}", f"{number}"
        spans.append(row | {"span_id": client, "parent_span_id": parent, "service": "web", "name": "get cart"})
        spans[-1]["kind"] = KIND_CLIENT
        spans.append(row | {"span_id": f"{client}s", "parent_span_id": client, "service": "cart", "name": "get"})
        spans[-1]["kind"] = KIND_SERVER
    return spans


def evidence(before_per_s: int, after_per_s: int, calls_after: int = 1) -> Traffic:
    rng, rows = np.random.default_rng(1), []
    for start_s, per_s, calls in ((-60, before_per_s, 1), (0, after_per_s, calls_after)):
        for at in np.sort(rng.uniform(start_s, start_s + 66, 66 * per_s)):
            if at < start_s + 60 or start_s == 0:
                rows += request(len(rows), ALERT + round(at * SECOND), calls)
    visits = link(pa.Table.from_pylist(rows, SPANS)).visits
    read = read_visits(visits.schema.empty_table(), visits, SERVICES, ALERT)
    assert read is not None
    return Traffic(read)


def test_surge_of_requests_from_outside_speaks_of_the_entry() -> None:
    found = evidence(5, 20)
    nats = found.score(NOW)
    assert nats[0] == 0
    assert 6 < nats[1] < 12
    told = found.tell(NOW, 1)
    assert (told.entity, told.indicator) == ("web", "rate")
    assert told.text.startswith("requests from outside: 5")


def test_usual_traffic_and_calls_that_are_repeated_inside_are_no_surge() -> None:
    assert evidence(5, 5).score(NOW).tolist() == [0, 0]
    assert evidence(5, 5, calls_after=8).score(NOW).tolist() == [0, 0]


def test_few_requests_are_not_checked_rather_than_steady() -> None:
    visits = link(
        pa.Table.from_pylist([s for i in range(9) for s in request(i, ALERT + i * 8 * SECOND, 1)], SPANS)
    ).visits
    read = read_visits(visits.schema.empty_table(), visits, SERVICES, ALERT)
    assert read is not None
    assert Traffic(read).not_checked == "fewer than 20 requests from outside to services nobody else calls"
