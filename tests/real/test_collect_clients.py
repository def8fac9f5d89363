"""Real clients into a running collector: every span that they count as ended is in the store."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tracer"))
from collecting import Running, collector
from go_peers import built, forwarded

from benchmarks.generate import span_tables

CLIENTS = Path(__file__).parent / "clients"
pytestmark = pytest.mark.timeout(2400)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    upkeep = {"every_s": 2.0, "span_metrics": True}
    with collector(tmp_path_factory.mktemp("collect") / "store", upkeep=upkeep) as found:
        yield found


def client_settings(running: Running, service: str, protocol: str) -> dict[str, str]:
    door = "otlp-grpc" if protocol == "grpc" else "otlp-http"
    return {
        **os.environ,
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{running.ports[door]}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "60000" if service.startswith("node") else "60",
        "OTEL_NODE_RESOURCE_DETECTORS": "env,host",
    }


def stored(running: Running, service: str) -> int:
    return running.store.read("spans", columns=["service"]).column(0).to_pylist().count(service)


def ended(command: list[str], environment: dict[str, str], cwd: Path) -> int:
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split("ended")[1])


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("generation", ["", "http", "http/dup"])
def test_python_auto_instrumented(running: Running, tmp_path: Path, protocol: str, generation: str) -> None:
    service = f"python-{protocol}-{generation}"
    environment = client_settings(running, service, protocol) | {"OTEL_SEMCONV_STABILITY_OPT_IN": generation}
    environment |= {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "none"}
    instrument = str(Path(sys.executable).with_name("opentelemetry-instrument"))
    sent = ended([sys.executable, instrument, sys.executable, str(CLIENTS / "app.py"), "60"], environment, tmp_path)
    assert sent >= 60 * 3
    assert stored(running, service) == sent
    edges = running.store.read("series", columns=["name", "service"]).to_pylist()
    assert any(row["service"] == service for row in edges), "its metrics came as well"


@pytest.fixture(scope="module")
def node_modules(program: Callable[..., str]) -> Path:
    """Install what the Node client needs, once for each pinning, outside the tree."""
    npm = program("npm")
    key = hashlib.sha256((CLIENTS / "node/package.json").read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hypocenter"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"node-clients-{key}"
    with (cache / "node-clients.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = cache / f"node-clients-{key}.new"
            shutil.rmtree(making, ignore_errors=True)
            shutil.copytree(CLIENTS / "node", making)
            subprocess.run([npm, "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=making, check=True)
            making.rename(folder)
    shutil.copyfile(CLIENTS / "node/app.js", folder / "app.js")
    return folder


@pytest.mark.parametrize(
    ("protocol", "exporter"), [("grpc", "grpc"), ("http/protobuf", "proto"), ("http/json", "http")]
)
def test_node_auto_instrumented(
    running: Running, node_modules: Path, program: Callable[..., str], protocol: str, exporter: str
) -> None:
    service = f"node-{protocol}"
    command = [program("node"), "app.js", "60", exporter]
    sent = ended(command, client_settings(running, service, protocol), node_modules)
    assert sent >= 60 * 2
    assert stored(running, service) == sent


def test_collector_as_a_forwarder(running: Running, tmp_path: Path, go: str) -> None:
    (spans,) = span_tables(5_000, services=10, seed=3)
    services = set(spans.column("service").to_pylist())
    endpoint = f"http://127.0.0.1:{running.ports['otlp-http']}"
    with forwarded(built("collector", go), tmp_path, spans, endpoint):
        until = time.monotonic() + 120
        while sum(stored(running, service) for service in services) < spans.num_rows and time.monotonic() < until:
            time.sleep(0.2)
    rows = running.store.read("spans", columns=["trace_id", "span_id", "service"]).to_pylist()
    found = sorted((row["trace_id"], row["span_id"]) for row in rows if row["service"] in services)
    assert found == sorted((row["trace_id"], row["span_id"]) for row in spans.to_pylist())


def test_what_came_is_counted_on_the_metrics_page_a_minute_later(tmp_path: Path, running: Running) -> None:
    service, now = "metered", time.time_ns() // 1000
    span = {"traceId": "d" * 16, "name": "get", "timestamp": now, "duration": 5}
    body = [
        span | {"id": "a" * 16, "kind": "CLIENT", "localEndpoint": {"serviceName": f"{service}-caller"}},
        span | {"id": "b" * 16, "parentId": "a" * 16, "kind": "SERVER", "localEndpoint": {"serviceName": service}},
    ]
    assert running.post("/api/v2/spans", json.dumps(body), "application/json").status == 202
    until, calls = time.monotonic() + 200, 0.0
    while not calls and time.monotonic() < until:
        time.sleep(1)
        calls = running.metric("traces_service_graph_request_total", client=f"{service}-caller", server=service)
    assert calls == 1
    assert running.metric("traces_spanmetrics_calls_total", service=service, span_name="get") == 1


@pytest.mark.parametrize("door", ["otlp-grpc", "otlp-http"])
def test_telemetrygen(tmp_path: Path, running: Running, go: str, door: str) -> None:
    service = f"telemetrygen-{door}"
    command = [str(built("telemetrygen", go)), "traces", "--otlp-insecure", f"--service={service}", "--rate=0"]
    command += ["--traces=200", "--child-spans=2", "--workers=2", f"--otlp-endpoint=127.0.0.1:{running.ports[door]}"]
    command += ["--otlp-http"] if door == "otlp-http" else []
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert stored(running, service) == 2 * 200 * (1 + 2)
