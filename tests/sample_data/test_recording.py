"""What the recorder does with what it heard: cutting, measuring, writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sample_data.cut import cut, is_complete
from sample_data.effect import Effect, measure, to_label
from sample_data.metrics import MetricsRecording
from sample_data.otlp_sink import to_otlp_json
from sample_data.postgres import PostgresMissing, find_binaries


def span(trace: str, name: str, start: int, parent: str | None = None) -> dict[str, Any]:
    ids = {"traceId": trace, "spanId": name} | ({"parentSpanId": parent} if parent else {})
    return {**ids, "startTimeUnixNano": str(start)}


def traces(*spans: dict[str, Any]) -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": list(spans)}]}]}


def logs(*records: dict[str, Any]) -> dict[str, Any]:
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": list(records)}]}]}


def test_cut_keeps_whole_traces_that_begin_inside_and_their_lines() -> None:
    early, inside, late = span("a", "1", 9), span("b", "3", 19), span("c", "5", 20)
    heard = [traces(span("a", "2", 12, "1"), inside), traces(early, span("b", "4", 25, "3")), traces(late)]
    lines = [
        {"timeUnixNano": "12", "traceId": "a"},
        {"timeUnixNano": "26", "traceId": "b"},
        {"timeUnixNano": "15"},
        {"timeUnixNano": "20"},
    ]
    kept_traces, kept_logs = cut(heard, [logs(*lines)], 10, 20)
    assert kept_traces == [traces(inside), traces(span("b", "4", 25, "3"))]
    assert kept_logs == [logs(lines[1], lines[2])]


def test_recording_is_complete_only_with_every_parent_and_one_root_a_trace() -> None:
    root, child = span("a", "1", 1), span("a", "2", 2, "1")
    assert is_complete([traces(child), traces(root)])
    assert not is_complete([traces(child)])
    assert not is_complete([traces(root, child, span("a", "3", 3))])
    assert not is_complete([traces(root, span("b", "2", 2, "1"))])


def test_ids_are_hex_and_enums_are_numbers() -> None:
    request = ExportTraceServiceRequest()
    found = request.resource_spans.add().scope_spans.add().spans.add()
    found.trace_id, found.span_id, found.parent_span_id = bytes(range(16)), b"\xff" * 8, b"\x01" * 8
    found.kind, found.start_time_unix_nano = 2, 17
    assert to_otlp_json(request)["resourceSpans"][0]["scopeSpans"][0]["spans"] == [
        {
            "traceId": "000102030405060708090a0b0c0d0e0f",
            "spanId": "ffffffffffffffff",
            "parentSpanId": "0101010101010101",
            "kind": 2,
            "startTimeUnixNano": "17",
        }
    ]


def request(time_ns: int, duration_ms: float, status: int = 200, operation: str = "GET /") -> dict[str, Any]:
    return {"time_ns": time_ns, "operation": operation, "status": status, "duration_ms": duration_ms}


def test_effect_compares_an_operation_with_itself_inside_the_recording() -> None:
    warm_up, after = [request(9, 999.0)], [request(100, 999.0)]
    before = [request(10, 20.0)] * 9 + [request(49, 30.0, 404)] * 2
    during = [request(50, 100.0)] * 8 + [request(99, 110.0, 0)] * 2
    rare = [request(20, 1.0, operation="POST /")] * 30
    assert measure(warm_up + before + during + after + rare, 10, 50, 100) == [
        Effect("GET /", 20.0, 100.0, 0.0, 0.2, 11, 10)
    ]


def test_effect_is_visible_when_slower_or_failing_and_not_when_it_only_wavers() -> None:
    def effect(during_ms: float, failing: float) -> Effect:
        return Effect("GET /", 100.0, during_ms, 0.01, failing, 50, 50)

    assert [effect(*e).visible for e in ((124.0, 0.1), (126.0, 0.0), (100.0, 0.12))] == [False, True, True]
    assert not Effect("GET /", 5.0, 20.0, 0.0, 0.0, 50, 50).visible
    assert to_label([effect(100.0, 0.0)])["effect_visible"] is False
    assert to_label([])["effect_visible"] is False


def test_scrapes_become_one_openmetrics_text_with_the_targets_labels_and_times() -> None:
    recording = MetricsRecording()
    for time_s, value in ((5.0, 1.0), (10.0, 2.0)):
        exposition = (
            "# TYPE python_info gauge\npython_info 1.0\n"
            f'# TYPE hits counter\n# HELP hits Hits.\nhits_total{{path="a\\"b"}} {value}\nhits_created 3.0\n# EOF\n'
        )
        recording.add_exposition(exposition, {"pod": "p"}, time_s)
        recording.add("cpu_seconds", "counter", "CPU", {"pod": "p"}, value / 3, time_s, "seconds")
    text = recording.to_text()
    assert text.splitlines() == [
        "# TYPE cpu_seconds counter",
        "# UNIT cpu_seconds seconds",
        "# HELP cpu_seconds CPU",
        'cpu_seconds_total{pod="p"} 0.3333333333 5.000',
        'cpu_seconds_total{pod="p"} 0.6666666667 10.000',
        "# TYPE hits counter",
        "# HELP hits Hits.",
        'hits_total{path="a\\"b",pod="p"} 1 5.000',
        'hits_total{path="a\\"b",pod="p"} 2 10.000',
        "# EOF",
    ]
    assert [family.name for family in text_string_to_metric_families(text)] == ["cpu_seconds", "hits"]


def test_newest_packaged_postgresql_is_taken_and_its_absence_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgresMissing, match="apt-get install -y --no-install-recommends postgresql"):
        find_binaries(tmp_path)
    for version in ("9", "15", "13"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    assert find_binaries(tmp_path) == tmp_path / "15" / "bin"
