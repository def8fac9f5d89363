"""An exporter that remembers what it served, and a Prometheus with TLS and a password that scrapes it."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from hypocenter.tracer.pull.server import Access
from sample_data.processes import Processes

USER, PASSWORD = "reader", "open sesame"
# bcrypt of the password at its lowest cost.
_HASH = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"
RESET_AT, GONE_AT, BUCKETS = 5, 4, (0.1, 0.5, 1.0)
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
# What kube-state-metrics, cAdvisor and a kubelet would tell, by name.
_PLATFORM = {
    "kube_pod_info": {"namespace": "shop", "pod": "cart-abc-1", "node": "node-7"},
    "kube_pod_owner": {"namespace": "shop", "pod": "cart-abc-1", "owner_kind": "ReplicaSet", "owner_name": "cart-abc"},
    "kube_replicaset_owner": {"namespace": "shop", "replicaset": "cart-abc", "owner_name": "cart"},
    "container_memory_working_set_bytes": {"namespace": "shop", "pod": "cart-abc-1", "container": "app"},
    "kube_deployment_status_replicas": {"namespace": "shop", "deployment": "cart"},
}


@dataclass
class Exporter:
    """Serves ``/metrics``; ``served`` are the values of ``shop_orders_total`` and ``gone`` by scrape."""

    served: list[dict[str, float]] = field(default_factory=list)
    observed: int = 0

    def __post_init__(self) -> None:
        self._fresh()
        self._gone: Gauge | None = Gauge("process_open_fds", "goes away", registry=self._registry)
        for name, labels in _PLATFORM.items():
            Gauge(name, "platform", list(labels), registry=self._platform).labels(**labels).set(1)
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, body = exporter._scrape() if self.path == "/metrics" else exporter._native()
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"

    def _fresh(self) -> None:
        """Begin anew, as a process that restarts does."""
        self._registry, self._platform = CollectorRegistry(), CollectorRegistry()
        self._orders = Counter("http_requests", "orders", registry=self._registry)
        self._durations = Histogram("http_request_duration_seconds", "d", buckets=BUCKETS, registry=self._registry)

    def _scrape(self) -> tuple[str, bytes]:
        number = len(self.served)
        if number == RESET_AT:
            platform = self._platform
            self._fresh()
            self._platform = platform
        if number == GONE_AT and self._gone is not None:
            self._registry.unregister(self._gone)
            self._gone = None
        self._orders.inc(number + 1)
        self._durations.observe(0.3, {"trace_id": TRACE_ID, "span_id": SPAN_ID})
        self.observed += 1
        values = {"http_requests_total": self._orders._value.get()}
        if self._gone is not None:
            self._gone.set(number)
            values["process_open_fds"] = number
        self.served.append(values)
        body = generate_latest(self._registry).removesuffix(b"# EOF\n") + generate_latest(self._platform)
        return CONTENT_TYPE_LATEST, body

    def _native(self) -> tuple[str, bytes]:
        """Return a native histogram of schema 0 with 3 observations in (1, 2] and 5 in (2, 4]."""
        spans = _message(12, _number(1, 2) + _number(2, 2))  # offset 1 (zigzag), length 2
        deltas = _number(13, 6) + _number(13, 4)  # 3, then +2 (zigzag)
        histogram = _number(1, 8) + b"\x11" + struct.pack("<d", 20.0) + _number(5, 0)
        histogram += b"\x31" + struct.pack("<d", 1e-128) + _number(7, 0) + spans + deltas
        family = _message(1, b"rpc_server_duration") + _number(3, 4) + _message(4, _message(7, histogram))
        kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        return kind, _varint(len(family)) + family

    def __enter__(self) -> Exporter:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True)
class Scraped:
    """A Prometheus that has scraped ``exporter`` some times; ``since_ns`` is before the first."""

    url: str
    access: Access
    exporter: Exporter
    folder: Path
    since_ns: int
    command: list[str]


@contextmanager
def scraped(folder: Path, program: Callable[..., str], scrapes: int) -> Iterator[Scraped]:
    """Yield once the exporter was scraped so often."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    web = {
        "basic_auth_users": {USER: _HASH},
        "tls_server_config": {"cert_file": str(certificate), "key_file": str(key)},
    }
    (folder / "web.yml").write_text(json.dumps(web), encoding="utf-8")
    with Exporter() as exporter:
        node_port, port = free_port(), free_port()
        jobs = {
            "shop/web": {"static_configs": [{"targets": [exporter.address]}]},
            "native": {"metrics_path": "/native", "static_configs": [{"targets": [exporter.address]}]},
            "node": {"static_configs": [{"targets": [f"127.0.0.1:{node_port}"]}]},
        }
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": name, **job} for name, job in jobs.items()],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
        processes = Processes(folder)
        start = [program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
        start += [f"--web.listen-address=127.0.0.1:{port}", f"--web.config.file={folder}/web.yml"]
        start += ["--enable-feature=exemplar-storage,native-histograms"]
        node = [program("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{node_port}"]
        processes.start("node", [*node, "--collector.disable-defaults", "--collector.uname", "--collector.loadavg"])
        since_ns = time.time_ns()
        processes.start("prometheus", start)
        access = Access(username=USER, password_file=str(folder / "password"), ca_file=str(certificate), timeout_s=30)
        try:
            wait(lambda: len(exporter.served) >= scrapes, processes)
            yield Scraped(f"https://127.0.0.1:{port}", access, exporter, folder, since_ns, start)
        finally:
            processes.stop_all()


def wait(is_done: Callable[[], bool], processes: Processes | None = None, timeout_s: float = 120) -> None:
    """Return when the condition holds; an AssertionError tells what ended meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        ended = processes.exited() if processes else []
        assert not ended and time.monotonic() < deadline, f"not within {timeout_s} s; ended: {ended}"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _number(field_number: int, value: int) -> bytes:
    return _varint(field_number << 3) + _varint(value)


def _message(field_number: int, content: bytes) -> bytes:
    return _varint(field_number << 3 | 2) + _varint(len(content)) + content


def host_name() -> str:
    return os.uname().nodename
