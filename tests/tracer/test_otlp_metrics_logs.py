"""Metric points of every kind and log records, each with what becomes of its broken forms."""

from __future__ import annotations

import subprocess
import sys

import orjson

from hypocenter.tracer.batch import Batch
from hypocenter.tracer.otlp import JSON, decode_logs, decode_metrics

RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]}
LABEL = [{"key": "host", "value": {"stringValue": "n1"}}]


def metrics(*streams: dict[str, object], resource: object = RESOURCE, scope: str = "lib") -> Batch:
    scoped = [{"scope": {"name": scope}, "metrics": list(streams)}]
    request = {"resourceMetrics": [{"resource": resource, "scopeMetrics": scoped}]}
    return decode_metrics(orjson.dumps(request), JSON, "file")


def point(**fields: object) -> dict[str, object]:
    return {"timeUnixNano": "100", "attributes": LABEL} | fields


def logs(*records: dict[str, object]) -> Batch:
    request = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": list(records)}]}]}
    return decode_logs(orjson.dumps(request), JSON, "file")


def test_numbers_become_points_of_a_described_series() -> None:
    gauge = {"name": "temperature", "unit": "Cel", "gauge": {"dataPoints": [point(asDouble=1.5), point(asInt="2")]}}
    total = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point(asInt=3)]}
    batch = metrics(gauge, {"name": "requests", "sum": total})
    first, second = batch.table("series").to_pylist()
    assert first == {
        "series_id": first["series_id"],
        "name": "temperature",
        "kind": "gauge",
        "unit": "Cel",
        "temporality": None,
        "monotonic": None,
        "service": "web",
        "pod": None,
        "node": None,
        "peer": None,
        "attributes": [("service.name", '"web"'), ("host", '"n1"')],
        "source": "file",
    }
    assert (second["kind"], second["temporality"], second["monotonic"]) == ("sum", "cumulative", True)
    assert batch.table("points").to_pylist() == [
        {"series_id": series["series_id"], "time_ns": 100, "value": value, "histogram": None}
        for series, value in ((first, 1.5), (first, 2.0), (second, 3.0))
    ]


def test_distributions_are_kept_as_json() -> None:
    exemplar = {"timeUnixNano": "90", "asDouble": "NaN", "traceId": "AB" * 16, "filteredAttributes": LABEL}
    histogram = point(count="3", sum=4, startTimeUnixNano="50", bucketCounts=["1", 2], explicitBounds=[0.5])
    exponential = point(count=2, scale=1, zeroCount=1, positive={"offset": -1, "bucketCounts": [1]})
    summary = point(count=2, sum=3, quantileValues=[{"quantile": 0.5, "value": 1}])
    batch = metrics(
        {"name": "h", "histogram": {"dataPoints": [histogram | {"exemplars": [exemplar]}]}},
        {"name": "e", "exponentialHistogram": {"dataPoints": [exponential]}},
        {"name": "s", "summary": {"dataPoints": [summary]}},
    )
    assert batch.table("points")["value"].to_pylist() == [None] * 3
    assert [orjson.loads(text) for text in batch.table("points")["histogram"].to_pylist()] == [
        {
            "count": 3,
            "sum": 4.0,
            "start_ns": 50,
            "explicit_bounds": [0.5],
            "bucket_counts": [1, 2],
            "exemplars": [
                {
                    "time_ns": 90,
                    "value": {"doubleValue": "NaN"},
                    "trace_id": "ab" * 16,
                    "attributes": {"host": "n1"},
                }
            ],
        },
        {
            "count": 2,
            "scale": 1,
            "zero_count": 1,
            "zero_threshold": 0.0,
            "positive": {"offset": -1, "bucket_counts": [1]},
            "negative": {"offset": 0, "bucket_counts": []},
        },
        {"count": 2, "sum": 3.0, "quantiles": [{"quantile": 0.5, "value": 1.0}]},
    ]


def test_stale_point_has_no_value_and_broken_ones_are_counted() -> None:
    stale = {"name": "g", "gauge": {"dataPoints": [point(asDouble=1, flags=1), point(timeUnixNano=0, asDouble=1)]}}
    batch = metrics(stale, {"name": "future"}, resource={})
    assert batch.table("points")["value"].to_pylist() == [None]
    assert batch.tally.dropped == {"data point without a time": 1, "metric of an unknown kind or without data": 1}
    assert batch.tally.problems == [
        "file: g: data point without a time",
        "file: future: metric of an unknown kind or without data",
    ]
    assert batch.tally.repaired == {"service.name missing": 1}


def series_id(resource: object = RESOURCE, scope: str = "lib", kind: str = "sum", **changes: object) -> str:
    own = changes.pop("attributes", LABEL)
    data = changes.pop("data", {})
    stream = {"name": "n", "unit": "1", kind: {"dataPoints": [point(asInt=1, attributes=own)], **data}} | changes  # type: ignore[dict-item]
    (found,) = metrics(stream, resource=resource, scope=scope).table("series")["series_id"].to_pylist()
    return str(found)


def test_series_differ_in_all_that_identifies_them_and_in_nothing_else() -> None:
    other = [{"key": "z", "value": {"stringValue": "1"}}]
    ids = [
        series_id(),
        series_id(name="m"),
        series_id(unit="s"),
        series_id(kind="gauge"),
        series_id(data={"aggregationTemporality": 1}),
        series_id(data={"isMonotonic": True}),
        series_id(attributes=other),
        series_id(attributes=[{"key": "z", "value": {"intValue": 1}}]),
        series_id(resource={"attributes": other}),
        series_id(scope="other"),
    ]
    assert len(set(ids)) == len(ids)
    assert series_id(attributes=LABEL + other) == series_id(attributes=other + LABEL)
    assert series_id(description="text") == ids[0]


def test_series_id_is_the_same_in_every_process() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_otlp_metrics_logs import series_id; print(series_id())"
    )
    folder = __file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == series_id()


def test_log_record_keeps_its_text_context_and_severity() -> None:
    ids = {"traceId": "AB" * 16, "spanId": "cd" * 8}
    nested = {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1}}]}}
    records = [
        ids | {"timeUnixNano": 5, "severityNumber": 17, "body": {"stringValue": 'a\n"b"'}, "attributes": LABEL},
        {"observedTimeUnixNano": 6, "severityText": "WARN3", "body": nested, "eventName": "page"},
        {"timeUnixNano": 7, "severityNumber": 99, "traceId": "ab", "spanId": "0" * 16},
        {"body": {"stringValue": "when"}},
    ]
    batch = logs(*records)
    assert batch.table("logs").drop_columns(["pod", "node", "source", "service"]).to_pylist() == [
        {
            "time_ns": 5,
            "severity": 17,
            "body": 'a\n"b"',
            "trace_id": "ab" * 16,
            "span_id": "cd" * 8,
            "attributes": [("service.name", '"web"'), ("host", '"n1"')],
        },
        {
            "time_ns": 6,
            "severity": 15,
            "body": '{"a":1}',
            "trace_id": None,
            "span_id": None,
            "attributes": [("service.name", '"web"'), ("event.name", '"page"')],
        },
        {
            "time_ns": 7,
            "severity": 0,
            "body": "",
            "trace_id": None,
            "span_id": None,
            "attributes": [("service.name", '"web"')],
        },
    ]
    assert batch.table("logs")["service"].to_pylist() == ["web"] * 3
    assert batch.tally.dropped == {"log record without a time": 1}
    assert batch.tally.problems == ["file: log record 4: log record without a time"]
    assert batch.tally.repaired == {"unknown severity number": 1, "trace id not valid": 1}
