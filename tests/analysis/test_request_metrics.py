"""Counters and histograms of requests become rate, failures and mean latency of services and of edges."""

import json

import pyarrow as pa
import pytest

from hypocenter.analysis.case import Case
from hypocenter.analysis.hypocenter import Hypocenter
from hypocenter.analysis.request_metrics import in_requests
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SIGNALS

STEP_NS = 15 * 10**9
SERVER, CLIENT = "http_server_request_duration_seconds", "http_client_request_duration_seconds"


class Scraped:
    """Series and points as a scrape every 15 s leaves them."""

    def __init__(self) -> None:
        self.series: list[dict[str, object]] = []
        self.points: list[dict[str, object]] = []

    def add(
        self, name: str, values: list[float | None], labels: dict[str, str] | None = None, *, service: str = "web",
        kind: str = "sum", histograms: list[dict[str, float]] | None = None,
    ) -> None:  # fmt: skip
        number = str(len(self.series))
        attributes = [(key, json.dumps(value)) for key, value in (labels or {}).items()]
        self.series.append(
            {"series_id": number, "name": name, "kind": kind, "monotonic": True, "temporality": "cumulative",
             "service": service, "attributes": attributes, "source": "scrape"}
        )  # fmt: skip
        for step, value in enumerate(values):
            if value is not None:
                self.points.append({"series_id": number, "time_ns": step * STEP_NS, "value": value})
        for step, told in enumerate(histograms or []):
            self.points.append({"series_id": number, "time_ns": step * STEP_NS, "histogram": json.dumps(told)})

    def tables(self) -> tuple[pa.Table, pa.Table]:
        return (
            pa.Table.from_pylist(self.series, SIGNALS["series"]),
            pa.Table.from_pylist(self.points, SIGNALS["points"]),
        )

    def told(self) -> dict[tuple[str, str | None, str], list[float]]:
        """Return the values of each series that is told, by service, peer and name."""
        series, points = in_requests(*self.tables())
        values: dict[str, list[float]] = {}
        for row in points.sort_by("time_ns").to_pylist():
            values.setdefault(row["series_id"], []).append(row["value"])
        rows = series.to_pylist()
        return {(r["service"], r["peer"], r["name"]): values[r["series_id"]] for r in rows if r["series_id"] in values}


def test_requests_of_all_routes_and_statuses_are_added_up() -> None:
    scraped = Scraped()
    for status, counts, sums in (("200", [10, 20, 40], [1, 2, 4]), ("503", [0, 1, 3], [0, 2, 6])):
        labels = {"http_route": "/a", "http_response_status_code": status}
        scraped.add(f"{SERVER}_count", counts, labels)
        scraped.add(f"{SERVER}_sum", sums, labels)
    assert scraped.told() == {
        ("web", None, "http_server requests"): [11.0, 22.0],
        ("web", None, "http_server errors"): [1.0, 2.0],
        ("web", None, "http_server mean latency"): pytest.approx([3 / 11, 6 / 22]),
    }


def test_calls_belong_to_the_edge_to_their_peer_and_addresses_are_no_names() -> None:
    scraped = Scraped()
    for peer in ("pay.shop.svc.cluster.local", "10.0.0.7"):
        for part in ("count", "sum"):
            scraped.add(f"{CLIENT}_{part}", [0, 4], {"server_address": peer, "error_type": "timeout"})
    told = scraped.told()
    assert told["web", "pay", "http_client errors"] == told["web", None, "http_client errors"] == [4.0]


def test_series_that_begins_with_its_first_failure_counts_it() -> None:
    scraped = Scraped()
    scraped.add("http_requests_total", [10, 20, 30, 40], {"code": "200"})
    scraped.add("http_requests_total", [None, None, 5, 7], {"code": "500"})
    told = scraped.told()
    assert told["web", None, "http errors"] == [0.0, 5.0, 2.0]
    assert told["web", None, "http requests"] == [10.0, 15.0, 12.0]


def test_reset_of_a_counter_is_an_unknown_step() -> None:
    scraped = Scraped()
    scraped.add("http_requests_total", [10, 20, 3, 5], {"code": "200"})
    assert scraped.told()["web", None, "http requests"] == [10.0, 2.0]


def test_histograms_of_otlp_tell_the_same() -> None:
    scraped = Scraped()
    told = [{"count": 10, "sum": 1.0}, {"count": 30, "sum": 9.0}]
    scraped.add("http.server.request.duration", [], {"error.type": "500"}, kind="histogram", histograms=told)
    assert scraped.told() == {
        ("web", None, "http.server requests"): [20.0],
        ("web", None, "http.server errors"): [20.0],
        ("web", None, "http.server mean latency"): [0.4],
    }


@pytest.mark.parametrize(
    ("labels", "failing"),
    [
        ({"http_status_code": "500"}, True),
        ({"code": "5xx"}, True),
        ({"http_response_status_code": "404", "error_type": "404"}, False),
        ({"grpc_code": "Unavailable"}, True),
        ({"rpc_grpc_status_code": "0"}, False),
        ({"status_code": "STATUS_CODE_ERROR"}, True),
        ({"error_type": "ConnectError"}, True),
        ({}, False),
    ],
)
def test_labels_that_tell_of_a_failure(labels: dict[str, str], failing: bool) -> None:
    scraped = Scraped()
    scraped.add("grpc_server_handled_total", [0, 8], labels)
    assert scraped.told()["web", None, "grpc_server errors"] == [8.0 if failing else 0.0]


def test_what_counts_no_requests_stays_as_it_is() -> None:
    scraped = Scraped()
    scraped.add("process_cpu_seconds_total", [1, 2])
    scraped.add("batch_size_sum", [1, 2])
    series, points = scraped.tables()
    assert [table.equals(same) for table, same in zip(in_requests(series, points), (series, points), strict=True)] == [
        True,
        True,
    ]


def incident(*, down: bool) -> Case:
    """A caller whose calls to ``pay`` fail from the fortieth step of sixty on; ``pay`` itself counts no requests."""
    scraped = Scraped()
    for status, per_step in (("200", lambda s: 20 if s < 40 else 2), ("500", lambda s: 0 if s < 40 else 18)):
        total = [float(sum(map(per_step, range(step + 1)))) for step in range(60)]
        for name, labels in ((SERVER, {}), (CLIENT, {"server_address": "pay"})):
            labels = labels | {"http_response_status_code": status}
            scraped.add(f"{name}_count", total, labels)
            scraped.add(f"{name}_sum", [0.01 * count for count in total], labels)
    lives = range(60) if not down else range(40)
    scraped.add(
        "container_memory_rss",
        [1e8 + step if step in lives else None for step in range(60)],
        service="pay",
        kind="gauge",
    )
    series, points = scraped.tables()
    return Case(Batch({"series": series, "points": points}), 40 * STEP_NS)


def test_failed_calls_to_a_callee_without_metrics_of_its_own_blame_the_callee() -> None:
    case = incident(down=False)
    assert sorted(case.call_graph.edges) == [("web", "pay")]
    first = Hypocenter().rank(case).candidates[0]
    assert (first.service, first.evidence_for[0].kind) == ("pay", "excess")


def test_instance_whose_metrics_end_is_named_with_the_time_it_was_up() -> None:
    first = Hypocenter().rank(incident(down=True)).candidates[0]
    texts = {e.kind: e.text for e in first.evidence_for}
    assert first.service == "pay"
    assert texts["availability"] == "all its instances are up in 100% of the time before, 0% now"
