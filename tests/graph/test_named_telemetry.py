"""Spans, series and logs name a service as its node, where deployments of one name are told apart."""

from typing import Any

import pyarrow as pa

from hypocenter.analysis.case import Case
from hypocenter.graph.named_telemetry import named_as_nodes
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import LOGS, SERIES, SPANS

Row = dict[str, Any]


def spans(*rows: Row) -> pa.Table:
    every = {"kind": 2, "status": 0, "start_ns": 1, "duration_ns": 1, "adjusted_milli": 1000, "name": "get"}
    given = [{"trace_id": f"{n}", "span_id": "a", "source": "x"} | every | row for n, row in enumerate(rows)]
    return pa.Table.from_pylist([dict.fromkeys(SPANS.names) | row for row in given], SPANS)


def series(*rows: Row) -> pa.Table:
    given = [{"series_id": f"{n}", "name": "cpu", "kind": "gauge", "source": "x"} | row for n, row in enumerate(rows)]
    return pa.Table.from_pylist([dict.fromkeys(SERIES.names) | row for row in given], SERIES)


TWO = spans(
    {"service": "cart", "environment": "prod", "cluster": "eu", "pod": "cart-1"},
    {"service": "cart", "environment": "staging", "pod": "cart-9"},
    {"service": "web", "environment": "prod"},
)


def test_series_and_logs_are_of_the_deployment_that_their_pod_or_their_attributes_tell() -> None:
    measured = series(
        {"service": "cart", "pod": "cart-9"},
        {"service": "cart", "attributes": [("deployment.environment.name", '"prod"')]},
        {"service": "cart", "attributes": [("deployment_environment", '"staging"'), ("path", '"/"')]},
        {"service": "cart", "attributes": [("k8s.cluster.name", '"us"')]},
        {"service": "cart"},
        {"service": "web", "attributes": [("deployment.environment.name", '"staging"')]},
        {"service": None},
    )
    lines = [{"time_ns": 1, "severity": 9, "body": "x", "service": "cart", "pod": "cart-1", "source": "x"}]
    logs = pa.Table.from_pylist([dict.fromkeys(LOGS.names) | line for line in lines], LOGS)
    (found,) = named_as_nodes([Batch({"spans": TWO, "series": measured, "logs": logs})])
    assert found.table("spans")["service"].to_pylist() == ["cart@prod", "cart@staging", "web"]
    # A cluster that no deployment names rules out the one that names another.
    assert found.table("series")["service"].to_pylist() == [
        *("cart@staging", "cart@prod", "cart@staging", "cart@staging", "cart", "web", None),
    ]
    assert found.table("logs")["service"].to_pylist() == ["cart@prod"]
    assert [table.schema for table in found.tables.values()] == [SPANS, SERIES, LOGS]
    (again,) = named_as_nodes([found])
    assert again.tables == found.tables


def test_a_case_names_its_metrics_and_its_baseline_as_its_calls() -> None:
    prod, staging = TWO.slice(0, 1), TWO.slice(1, 1)
    measured = series({"service": "cart", "pod": "cart-1"})
    case = Case(Batch({"spans": prod, "series": measured}), 1, Batch({"spans": staging}))
    names = [batch.table("spans")["service"].to_pylist() for batch in (case.telemetry, case.baseline)]
    assert names == [["cart@prod"], ["cart@staging"]]
    assert case.measured[0]["service"].to_pylist() == ["cart@prod"]
    assert set(case.call_graph.edges) == {("external", "cart@prod"), ("external", "cart@staging")}


def test_telemetry_without_anything_to_tell_apart_stays_as_it_is() -> None:
    batch = Batch({"spans": TWO.slice(0, 1), "series": series({"service": "cart"})})
    case = Case(batch, 1)
    assert case.telemetry is batch
