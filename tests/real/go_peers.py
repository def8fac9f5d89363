"""A real OpenTelemetry Collector and a real Jaeger, built from pinned Go modules and asked for the edges of spans."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import queue
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from hypocenter.tracer.otlp.decode import PROTOBUF
from hypocenter.tracer.otlp.encode import encode_traces
from sample_data.processes import Processes

PEERS = Path(__file__).parent / "peers"
# What each folder's module builds.
PACKAGES = {
    "collector": ".",
    "jaeger": "github.com/jaegertracing/jaeger/cmd/jaeger",
    "kubernetes": ".",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw",
    "telemetrygen": "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen",
}
# A call that only one side told is given up after this long: more than one request takes to be read.
_TTL_S = 10
_DAY_MS = 86_400_000
_LAST = "last-of-all"
_CALLS = "traces.span.metrics.calls"
# Our names of a virtual node, in our order.
_PEER_NAMES = [
    "messaging.destination.template",
    "service.peer.name",
    "server.address",
    "db.namespace",
    "db.system.name",
]


def built(name: str, go: str) -> Path:
    """Return a peer's program, built once for each pinning and compiler, outside the tree."""
    module = PEERS / name
    key = hashlib.sha256(subprocess.run([go, "version"], check=True, capture_output=True).stdout)
    for file in sorted(module.iterdir()):
        key.update(file.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hypocenter"
    program = cache / f"go-{name}-{key.hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"go-{name}.lock").open("w") as lock:
        # Test workers would build it at the same time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            command = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o", f"{program}.new"]
            subprocess.run([*command, PACKAGES[name]], cwd=module, check=True, env={**os.environ, "GOWORK": "off"})
            shutil.move(f"{program}.new", program)
    return program


_SPAN_PEERS = [
    "service.peer.name",
    "server.address",
    "db.namespace",
    "db.system.name",
    "messaging.destination.template",
]

# Name, labels and value of points.
Sums = list[tuple[str, dict[str, str], int]]


@dataclass(frozen=True)
class Metrics:
    """Rows of ``edges`` are client, server, connection_type, count, failed; those of ``operations`` service, operation,
    kind (OTLP's number), count, failed; both come from ``sums``."""

    edges: pd.DataFrame
    operations: pd.DataFrame
    sums: Sums


def collector_metrics(program: Path, folder: Path, spans: pa.Table) -> Metrics:
    """Return what the Collector's connectors for service graphs and span metrics make of spans."""
    port = free_port()
    with _MetricsSink() as sink:
        settings = {
            "receivers": {"otlp": {"protocols": {"http": _listening(port)}}},
            "connectors": {
                "servicegraph": {
                    "store": {"ttl": f"{_TTL_S}s", "max_items": 1_000_000},
                    "store_expiration_loop": "500ms",
                    "metrics_flush_interval": "500ms",
                    "virtual_node_peer_attributes": _PEER_NAMES,
                    "database_name_attributes": ["db.namespace", "db.name"],
                },
                "spanmetrics": {
                    "metrics_flush_interval": "500ms",
                    "histogram": {"disable": True},
                    "dimensions": [{"name": name} for name in _SPAN_PEERS],
                },
            },
            "exporters": {"otlphttp": {"endpoint": sink.url, "encoding": "json", "compression": "none"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "exporters": ["servicegraph", "spanmetrics"]},
                    "metrics": {"receivers": ["servicegraph", "spanmetrics"], "exporters": ["otlphttp"]},
                },
            },
        }
        with _running("collector", program, folder, settings):
            _send(port, spans)
            # Calls are given up in the order of their arrival: once this one is, all others are told.
            _send(port, _last_of_all(spans))
            # Counters are cumulative, so the latest export tells all.
            of_edges: Sums = []
            of_spans: Sums = []
            while not any(labels.get("server") == _LAST for _, labels, _ in of_edges):
                sums = _sums(sink.next())
                of_edges = [one for one in sums if one[0] in _MEASURES] or of_edges
                of_spans = [one for one in sums if one[0] == _CALLS] or of_spans
    told = [one for one in [*of_edges, *of_spans] if _LAST not in one[1].values()]
    return Metrics(_edges(told), _operations(told), told)


@contextmanager
def jaeger(program: Path, folder: Path, spans: pa.Table) -> Iterator[str]:
    """Run a Jaeger that holds ``spans`` in its memory until the block ends; yield the address of its query service."""
    port, query, unused = free_port(), free_port(), free_port()
    settings = {
        "receivers": {"otlp": {"protocols": {"http": _listening(port)}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "spans"}},
        "extensions": {
            "jaeger_storage": {"backends": {"spans": {"memory": {"max_traces": 100_000}}}},
            "jaeger_query": {
                "storage": {"traces": "spans"},
                "http": _listening(query),
                "grpc": _listening(unused),
            },
        },
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
        },
    }
    with _running("jaeger", program, folder, settings):
        _send(port, spans)  # answered when stored
        yield f"http://127.0.0.1:{query}"


def jaeger_edges(program: Path, folder: Path, spans: pa.Table) -> pd.DataFrame:
    """Return client, server and count of the dependencies that Jaeger finds in its memory."""
    end_ms = spans["start_ns"].to_numpy().max() // 10**6 + _DAY_MS
    with jaeger(program, folder, spans) as query:
        url = f"{query}/api/dependencies?endTs={end_ms}&lookback={2 * _DAY_MS}"
        found = _http.request("GET", url).json()["data"]
    return pd.DataFrame(
        [(link["parent"], link["child"], link["callCount"]) for link in found], columns=["client", "server", "count"]
    )


@contextmanager
def forwarded(program: Path, folder: Path, spans: pa.Table, endpoint: str) -> Iterator[None]:
    """Let the Collector take spans and forward them over OTLP/HTTP, as long as the block lasts."""
    port = free_port()
    settings = {
        "receivers": {"otlp": {"protocols": {"http": _listening(port)}}},
        "exporters": {"otlphttp": {"endpoint": endpoint}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlphttp"]}},
        },
    }
    with _running("forwarder", program, folder, settings):
        _send(port, spans)
        yield


# A server that starts refuses connections for a while.
_http = urllib3.PoolManager(
    retries=urllib3.Retry(total=None, connect=60, read=0, backoff_factor=0.1, backoff_max=1), timeout=120
)


def _send(port: int, spans: pa.Table) -> None:
    url, headers = f"http://127.0.0.1:{port}/v1/traces", {"Content-Type": PROTOBUF}
    answer = _http.request("POST", url, body=encode_traces(spans, PROTOBUF), headers=headers)
    assert answer.status == 200, answer.data
    assert ExportTraceServiceResponse.FromString(answer.data).partial_success.rejected_spans == 0


def _last_of_all(spans: pa.Table) -> pa.Table:
    row: dict[str, Any] = dict.fromkeys(spans.column_names) | {"trace_id": "f" * 32, "span_id": "f" * 16, "kind": 2}
    row |= {"service": _LAST, "name": "op", "status": 0, "start_ns": 10**18, "duration_ns": 1, "source": "test"}
    return pa.Table.from_pylist([row | {"adjusted_milli": 1000}], spans.schema)


_MEASURES = {"traces_service_graph_request_total": "count", "traces_service_graph_request_failed_total": "failed"}
_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


def _sums(export: dict[str, Any]) -> Sums:
    """Return name, labels and value of the points of an export of metrics."""
    return [
        (
            metric["name"],
            {a["key"]: a["value"].get("stringValue", "") for a in point["attributes"]},
            int(point["asInt"]),
        )
        for resource in export.get("resourceMetrics", ())
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
        for point in metric.get("sum", {}).get("dataPoints", ())
    ]


def _edges(sums: Sums) -> pd.DataFrame:
    keys = ["client", "server", "connection_type"]
    rows = [
        (*(labels[key] for key in keys), *(value * (_MEASURES[name] == column) for column in ("count", "failed")))
        for name, labels, value in sums
        if name in _MEASURES
    ]
    # The label `failed` splits an edge in two.
    return pd.DataFrame(rows, columns=[*keys, "count", "failed"]).groupby(keys, as_index=False).sum()


def _operations(sums: Sums) -> pd.DataFrame:
    keys = ["service", "operation", "kind"]
    rows = [
        (
            *(
                labels["service.name"],
                labels["span.name"],
                _KINDS.index(labels["span.kind"].removeprefix("SPAN_KIND_")),
            ),
            *(value, value * (labels["status.code"] == "STATUS_CODE_ERROR")),
        )
        for name, labels, value in sums
        if name == _CALLS
    ]
    return pd.DataFrame(rows, columns=[*keys, "count", "failed"]).groupby(keys, as_index=False).sum()


class _MetricsSink:
    """What the Collector exports to."""

    def __init__(self) -> None:
        exports: queue.Queue[dict[str, Any]] = queue.Queue()
        self._exports = exports

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                exports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def next(self) -> dict[str, Any]:
        """Return the next export, waiting for it."""
        return self._exports.get(timeout=120)

    def __enter__(self) -> _MetricsSink:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def _running(name: str, program: Path, folder: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Run a program with its settings (YAML takes JSON) until the block ends."""
    (folder / f"{name}.yaml").write_text(json.dumps(settings), encoding="utf-8")
    processes = Processes(folder)
    processes.start(name, [str(program), "--config", str(folder / f"{name}.yaml")])
    try:
        yield
    except (urllib3.exceptions.HTTPError, queue.Empty) as error:
        raise AssertionError(f"{name} does not answer; its log ends: {processes.exited()}") from error
    finally:
        processes.stop_all()


def _listening(port: int) -> dict[str, Any]:
    return {"endpoint": f"127.0.0.1:{port}"}


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
