"""What `hypocenter collect` promises to senders: the whole protocol, over every door, in one running collector."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow.compute as pc
import pytest
import urllib3
from certificates import make as make_certificates
from collecting import Running, collector, exporter
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from hypocenter.tracer.otlp import JSON, PROTOBUF

NOW = time.time_ns()


def request(service: str, ids: list[int], start_ns: int = NOW, **attributes: str) -> ExportTraceServiceRequest:
    """Return a request with a span for each id, 0 being none."""
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    spans = resource.scope_spans.add().spans
    for number in ids:
        span = spans.add(trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name="work", kind=2)
        span.start_time_unix_nano, span.end_time_unix_nano = start_ns, start_ns + 1000
        for key, value in attributes.items():
            span.attributes.add(key=key.replace("_", ".")).value.string_value = value
    return made


def as_json(service: str, ids: list[int]) -> bytes:
    spans = [
        {
            "traceId": f"{number:032x}",
            "spanId": f"{number:016x}",
            "name": "work",
            "startTimeUnixNano": str(NOW),
            "endTimeUnixNano": NOW + 1000,
        }
        for number in ids
    ]
    named = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return json.dumps({"resourceSpans": [{"resource": named, "scopeSpans": [{"spans": spans}]}]}).encode()


def ids_of(running: Running, service: str) -> list[int]:
    table = running.store.read("spans", columns=["service", "span_id"])
    return sorted(int(row["span_id"], 16) for row in table.to_pylist() if row["service"] == service)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with collector(tmp_path_factory.mktemp("collect") / "store", limits={"body_timeout_s": 1.0}) as found:
        yield found


def refused(port: int, payload: bytes, **options: Any) -> Any:
    """Return the error of an export that must fail."""
    with exporter(port, **options) as export, pytest.raises(grpc.RpcError) as caught:
        export(payload, timeout=60)
    return caught.value


def status_of(error: Any) -> Status:
    """Return the google.rpc.Status of a failed call."""
    details = dict(error.trailing_metadata())
    return Status.FromString(details["grpc-status-details-bin"])


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_grpc_answers_when_the_spans_are_in_the_store(running: Running, compression: grpc.Compression) -> None:
    service = f"grpc-{compression}"
    with exporter(running.ports["otlp-grpc"], compression=compression) as export:
        answer = export(request(service, [1, 2]).SerializeToString(), timeout=60)
        assert ids_of(running, service) == [1, 2]
    assert answer == b""


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON, "application/json; charset=utf-8"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_http_answers_in_the_encoding_of_the_request(
    running: Running, content_type: str, packed: bool, chunked: bool
) -> None:
    service = f"http {content_type} {packed} {chunked}"
    plain = request(service, [1, 2]).SerializeToString() if content_type == PROTOBUF else as_json(service, [1, 2])
    body = gzip.compress(plain) if packed else plain
    headers = {"content_encoding": "gzip"} if packed else {}
    sent: Any = iter([body[:10], body[10:]]) if chunked else body
    answer = running.post("/v1/traces", sent, content_type, **headers)
    assert (answer.status, answer.data) == (200, b"" if content_type == PROTOBUF else b"{}")
    assert answer.headers["content-type"] == content_type.partition(";")[0]
    assert ids_of(running, service) == [1, 2]


@pytest.mark.parametrize("kind", ["traces", "metrics", "logs"])
def test_empty_requests_are_valid(running: Running, kind: str) -> None:
    assert running.post(f"/v1/{kind}", b"").status == 200
    assert running.post(f"/v1/{kind}", b"{}", JSON).data == b"{}"
    with exporter(running.ports["otlp-grpc"], kind) as export:
        assert export(b"", timeout=60) == b""


def test_partial_success_names_count_and_reason(running: Running) -> None:
    payload = request("partial", [0, 1, 0]).SerializeToString()
    answer = ExportTraceServiceResponse.FromString(running.post("/v1/traces", payload).data)
    with exporter(running.ports["otlp-grpc"]) as export:
        assert ExportTraceServiceResponse.FromString(export(payload, timeout=60)) == answer
    assert answer.partial_success.rejected_spans == 2
    assert answer.partial_success.error_message.startswith("2 x ")
    assert ids_of(running, "partial") == [1, 1]


@pytest.mark.parametrize("year", [1970, 2100])
def test_wrong_clock_is_rejected_and_makes_no_partition(running: Running, year: int) -> None:
    time_ns = 1 if year == 1970 else 4_102_444_800 * 10**9
    metrics, logs = ExportMetricsServiceRequest(), ExportLogsServiceRequest()
    gauge = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="clock").gauge
    gauge.data_points.add(time_unix_nano=time_ns, as_int=7)
    logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=time_ns, severity_number=9)
    told = {}
    for kind, wrong in (("traces", request("clock", [1], time_ns)), ("metrics", metrics), ("logs", logs)):
        answer = running.post(f"/v1/{kind}", wrong.SerializeToString())
        # The answers of all three are alike: a partial success with a count and a message.
        told[kind] = ExportTraceServiceResponse.FromString(answer.data).partial_success
    assert {kind: one.rejected_spans for kind, one in told.items()} == {"traces": 1, "metrics": 1, "logs": 1}
    assert all("wrong clock" in one.error_message for one in told.values())
    now = datetime.now(UTC)
    hours = {f"date={at:%Y-%m-%d}/hour={at:%H}" for at in (now, now - timedelta(hours=1))}
    found = {str(path.relative_to(path.parents[1])) for path in running.folder.glob("*/date=*/hour=*")}
    assert found <= hours
    assert ids_of(running, "clock") == []


def test_malformed_requests_are_refused_for_good(running: Running) -> None:
    answer = running.post("/v1/traces", b"\xff\xff")
    assert (answer.status, Status.FromString(answer.data).code) == (400, 3)
    assert "retry-after" not in answer.headers
    answer = running.post("/v1/traces", b"{", JSON)
    assert (answer.status, answer.json()["code"]) == (400, 3)
    error = refused(running.ports["otlp-grpc"], b"\xff\xff")
    assert (error.code(), status_of(error).code) == (grpc.StatusCode.INVALID_ARGUMENT, 3)


def test_malformed_request_does_not_harm_those_that_share_its_commit(running: Running) -> None:
    with exporter(running.ports["otlp-grpc"]) as export:
        calls = [
            export.future(b"\xff\xff" if number % 3 == 0 else request("shared", [number]).SerializeToString())
            for number in range(30)
        ]
        codes = [call.code() for call in calls]
    good = [number for number in range(30) if number % 3]
    assert [number for number, code in enumerate(codes) if code == grpc.StatusCode.OK] == good
    assert ids_of(running, "shared") == good


def test_too_large_after_decompression_is_refused_cheaply(running: Running) -> None:
    bomb = gzip.compress(bytes(200 << 20))
    begun = time.monotonic()
    assert running.post("/v1/traces", bomb, content_encoding="gzip").status == 413
    assert running.post("/v1/traces", iter([bytes(1 << 20)] * 65)).status == 413
    error = refused(running.ports["otlp-grpc"], bytes(200 << 20), compression=grpc.Compression.Gzip)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("path", "content_type", "encoding", "status"),
    [
        ("/v1/traces", "text/plain", "identity", 415),
        ("/v1/traces", PROTOBUF, "br", 415),
        ("/v1/spans", PROTOBUF, "identity", 404),
        ("/v1/traces", PROTOBUF, "gzip", 400),
    ],
)
def test_what_is_not_the_protocol_is_refused(
    running: Running, path: str, content_type: str, encoding: str, status: int
) -> None:
    assert running.post(path, b"not gzip", content_type, content_encoding=encoding).status == status


def test_slow_body_is_given_up_and_others_are_served_meanwhile(running: Running) -> None:
    slow = http.client.HTTPConnection("127.0.0.1", running.ports["otlp-http"], timeout=30)
    slow.putrequest("POST", "/v1/traces")
    slow.putheader("content-type", PROTOBUF)
    slow.putheader("content-length", "1000")
    slow.endheaders(b"a few")
    assert running.post("/v1/traces", request("quick", [1]).SerializeToString()).status == 200
    answer = slow.getresponse()
    assert (answer.status, answer.getheader("retry-after")) == (503, "1")
    slow.close()


def test_zipkin_spans_are_taken(running: Running) -> None:
    span = {"traceId": "a" * 16, "id": "b" * 16, "name": "get", "timestamp": NOW // 1000, "duration": 5}
    body = json.dumps([span | {"kind": "SERVER", "localEndpoint": {"serviceName": "zipkin"}}])
    assert running.post("/api/v2/spans", body, JSON).status == 202
    assert ids_of(running, "zipkin") == [0xBBBBBBBBBBBBBBBB]


def test_metrics_are_taken(running: Running) -> None:
    made = ExportMetricsServiceRequest()
    metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name="queue.length", unit="1")
    metric.gauge.data_points.add(time_unix_nano=NOW, as_int=7)
    assert running.post("/v1/metrics", made.SerializeToString()).status == 200
    assert running.store.read("points", columns=["value"]).to_pylist() == [{"value": 7.0}]


def test_secrets_are_masked_before_they_are_stored(running: Running) -> None:
    running.post("/v1/traces", request("masked", [1], user_password="hunter2").SerializeToString())
    files = [path.read_bytes() for path in running.folder.rglob("*.parquet")]
    stored = running.store.read("spans", filter=pc.field("service") == "masked")
    assert dict(stored.column("attributes").to_pylist()[0]) == {"user.password": '"***"'}
    assert not any(b"hunter2" in file for file in files)


def test_it_tells_how_it_fares(running: Running) -> None:
    before = running.metric("hypocenter_collect_stored_total", signal="spans")
    running.post("/v1/traces", request("told", [1, 2, 3]).SerializeToString())
    running.post("/v1/traces", b"\xff")
    assert running.metric("hypocenter_collect_stored_total", signal="spans") == before + 3
    assert running.metric("hypocenter_collect_refused_total", reason="malformed") >= 1
    assert running.metric("hypocenter_collect_queue_size_bytes") == 0
    assert running.get("/healthz").status == 200
    ready = running.get("/readyz")
    assert (ready.status, ready.json()["store"], ready.json()["ready"]) == (200, "ok", True)


def test_overload_is_refused_in_the_retryable_way_and_passes(tmp_path: Path) -> None:
    (tmp_path / "delay").write_text("1")
    bounds = {"queue_requests": 2, "workers": 1}
    with collector(tmp_path / "store", odd="slow_store", bounds=bounds) as slow:
        with exporter(slow.ports["otlp-grpc"]) as export:
            calls = [export.future(request("many", [number]).SerializeToString()) for number in range(1, 9)]
            codes = [call.code() for call in calls]
            taken = [number for number, code in enumerate(codes, 1) if code == grpc.StatusCode.OK]
            held = [export.future(request("held", [number]).SerializeToString()) for number in range(1, 9)]
            refusals = [call.exception() for call in held if call.code() != grpc.StatusCode.OK]
            for error in refusals:
                info = RetryInfo()
                assert status_of(error).details[0].Unpack(info)
                assert (error.code(), info.retry_delay.seconds >= 1) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        assert 0 < len(taken) < 8
        assert refusals
        assert ids_of(slow, "many") == taken
        (tmp_path / "delay").write_text("0")
        assert slow.post("/v1/traces", request("after", [1]).SerializeToString()).status == 200
        assert slow.metric("hypocenter_collect_refused_total", reason="overload") == 8 - len(taken) + len(refusals)


def test_overload_over_http_says_in_the_encoding_of_the_request_when_to_try_again(tmp_path: Path) -> None:
    (tmp_path / "delay").write_text("5")
    with collector(tmp_path / "store", odd="slow_store", bounds={"queue_requests": 1, "workers": 1}) as slow:
        with exporter(slow.ports["otlp-grpc"]) as export:
            taken = export.future(request("taken", [1]).SerializeToString())
            while not slow.metric("hypocenter_collect_queue_requests"):
                time.sleep(0.01)
            in_protobuf = slow.post("/v1/traces", request("more", [2]).SerializeToString())
            in_json = slow.post("/v1/traces", as_json("more", [3]), JSON)
            assert taken.code() == grpc.StatusCode.OK
        for answer, content_type in ((in_protobuf, PROTOBUF), (in_json, JSON)):
            assert (answer.status, answer.headers["content-type"]) == (429, content_type)
            assert int(answer.headers["retry-after"]) >= 1
        assert [Status.FromString(in_protobuf.data).code, in_json.json()["code"]] == [8, 8]
        assert [ids_of(slow, service) for service in ("taken", "more")] == [[1], []]


def test_senders_that_give_up_hold_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "delay").write_text("0.3")
    with collector(tmp_path / "store", odd="slow_store", bounds={"workers": 1}) as slow:
        with exporter(slow.ports["otlp-grpc"]) as export:
            calls = [export.future(request("gone", [number]).SerializeToString()) for number in range(1, 9)]
            while not slow.metric("hypocenter_collect_queue_requests"):
                time.sleep(0.01)
            for call in calls:
                call.cancel()
        (tmp_path / "delay").write_text("0")
        assert slow.post("/v1/traces", request("after", [1]).SerializeToString()).status == 200
        until = time.monotonic() + 30
        while slow.metric("hypocenter_collect_queue_requests") and time.monotonic() < until:
            time.sleep(0.01)
        assert slow.metric("hypocenter_collect_queue_size_bytes") == 0
        assert ids_of(slow, "after") == [1]


def test_full_disk_refuses_says_so_and_recovers(tmp_path: Path) -> None:
    with collector(tmp_path / "store", odd="full_store") as full:
        assert full.post("/v1/traces", request("before", [1]).SerializeToString()).status == 200
        (tmp_path / "full").touch()
        answer = full.post("/v1/traces", request("during", [1]).SerializeToString())
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert "No space left" in Status.FromString(answer.data).message
        error = refused(full.ports["otlp-grpc"], request("during", [2]).SerializeToString())
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        ready = full.get("/readyz")
        assert (ready.status, "No space left" in ready.json()["store"]) == (503, True)
        (tmp_path / "full").unlink()
        assert full.post("/v1/traces", request("after", [1]).SerializeToString()).status == 200
        assert full.get("/readyz").status == 200
        assert [ids_of(full, service) for service in ("before", "during", "after")] == [[1], [], [1]]


def test_sigterm_drains_what_was_taken(tmp_path: Path) -> None:
    (tmp_path / "delay").write_text("1")
    with collector(tmp_path / "store", odd="slow_store") as slow, exporter(slow.ports["otlp-grpc"]) as export:
        calls = [export.future(request("drained", [number]).SerializeToString()) for number in range(1, 6)]
        while not slow.metric("hypocenter_collect_queue_requests"):
            time.sleep(0.01)
        assert slow.end() == 0
        taken = [number for number, call in enumerate(calls, 1) if call.code() == grpc.StatusCode.OK]
    assert taken
    assert ids_of(slow, "drained") == taken


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory, program: Callable[..., str]) -> Path:
    """Make an authority, a server's certificate for localhost and a client's."""
    return make_certificates(tmp_path_factory.mktemp("certificates"), program("openssl"))


def test_mutual_tls_and_tokens_keep_strangers_out(tmp_path: Path, certificates: Path) -> None:
    (tmp_path / "tokens").write_text("first-secret\nsecond-secret\n")
    tls = {"certificate": f"{certificates}/server.pem", "key": f"{certificates}/server.key"}
    security = {"tls": tls | {"client_ca": f"{certificates}/ca.pem"}, "tokens_file": str(tmp_path / "tokens")}
    payload = request("secure", [1]).SerializeToString()
    authority = (certificates / "ca.pem").read_bytes()
    own = [(certificates / f"client.{part}").read_bytes() for part in ("key", "pem")]
    with collector(tmp_path / "store", security=security) as secure:
        port = secure.ports["otlp-grpc"]
        stranger = grpc.ssl_channel_credentials(authority)
        assert refused(port, payload, credentials=stranger).code() == grpc.StatusCode.UNAVAILABLE
        known = grpc.ssl_channel_credentials(authority, *own)
        assert refused(port, payload, credentials=known).code() == grpc.StatusCode.UNAUTHENTICATED
        with exporter(port, credentials=known) as export:
            assert export(payload, timeout=60, metadata=[("authorization", "Bearer second-secret")]) == b""
        url, headers = f"https://localhost:{secure.ports['otlp-http']}/v1/traces", {"content-type": PROTOBUF}
        unknown = urllib3.PoolManager(retries=False, ca_certs=f"{certificates}/ca.pem")
        with unknown, pytest.raises(urllib3.exceptions.HTTPError):
            unknown.request("POST", url, body=payload, headers=headers)
        pair = {"cert_file": f"{certificates}/client.pem", "key_file": f"{certificates}/client.key"}
        with urllib3.PoolManager(retries=False, ca_certs=f"{certificates}/ca.pem", **pair) as client:
            answer = client.request("POST", url, body=payload, headers=headers | {"authorization": "Bearer wrong"})
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            headers["authorization"] = "Bearer first-secret"
            assert client.request("POST", url, body=payload, headers=headers).status == 200
        assert ids_of(secure, "secure") == [1, 1]
    assert "secret" not in "".join(secure.told)
