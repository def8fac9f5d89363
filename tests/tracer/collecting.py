"""A collector in a process of its own, and clients of its doors."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import urllib3

from hypocenter.tracer.otlp import PROTOBUF
from hypocenter.tracer.store import Store

HERE = Path(__file__).parent
SERVICES = {"traces": "trace.v1.TraceService", "metrics": "metrics.v1.MetricsService", "logs": "logs.v1.LogsService"}
_ADDRESS = "127.0.0.1:0"


@dataclass
class Running:
    """A collector that serves."""

    process: subprocess.Popen[str]
    folder: Path
    ports: dict[str, int]
    told: list[str]
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=60))

    @property
    def store(self) -> Store:
        return Store(self.folder)

    def post(
        self, path: str, body: Any, content_type: str = PROTOBUF, door: str = "otlp-http", **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Send a request; underscores of header names stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.ports[door]}{path}"
        return self.http.request("POST", url, body=body, headers={"content-type": content_type, **named})

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return self.http.request("GET", f"http://127.0.0.1:{self.ports['admin']}{path}")

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a metric that have these labels."""
        found = 0.0
        for line in self.get("/metrics").data.decode().splitlines():
            match = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
                found += float(match[2])
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to the collector and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def collector(
    folder: Path, *flags: str, odd: str | None = None, store: str | None = None, **settings: Any
) -> Iterator[Running]:
    """Run a collector of a store, in ``folder`` or at a URL; ``odd`` names what opens it in workers (odd_stores.py)."""
    (folder.parent / "collect.json").write_text(json.dumps(settings))
    words = ["--config", str(folder.parent / "collect.json"), "--store", store or str(folder)]
    for door in ("otlp-grpc", "otlp-http", "admin"):
        words += [f"--{door}", _ADDRESS]
    command = [
        sys.executable,
        str(HERE / "odd_stores.py"),
        odd or ("remote_store" if store else "plain_store"),
        "collect",
        *words,
        *flags,
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(HERE)}, start_new_session=True
    )
    assert process.stderr is not None
    running = Running(process, folder, {}, [])
    try:
        for line in process.stderr:
            running.told.append(line)
            if found := re.match(r"collect: (\S+) on port (\d+)", line):
                running.ports[found[1]] = int(found[2])
            if line == "collect: ready\n":
                break
        else:
            raise AssertionError(f"the collector ended: {running.told}")
        reader = threading.Thread(target=running.told.extend, args=(process.stderr,), daemon=True)
        reader.start()
        yield running
        if process.poll() is None:
            running.end()
        reader.join(10)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()
        running.http.clear()


@contextmanager
def exporter(port: int, kind: str = "traces", credentials: Any = None, **options: Any) -> Iterator[Any]:
    """Yield a function that exports raw bytes over gRPC and returns the answer's bytes."""
    address = f"localhost:{port}"
    channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address, **options)
    with channel:
        yield channel.unary_unary(f"/opentelemetry.proto.collector.{SERVICES[kind]}/Export")
