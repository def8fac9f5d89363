"""The chain around the hook as real processes: the shop, Prometheus with rules, Alertmanager, and who stands beside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from hypocenter.tracer.otlp import decode_logs, decode_metrics, decode_traces
from hypocenter.tracer.store import Store

DECODERS = {"/v1/traces": decode_traces, "/v1/logs": decode_logs, "/v1/metrics": decode_metrics}
_COUNT = "rate(http_server_request_duration_seconds_count{service='%s'%s}[15s])"
_FAILING = "sum by (service) (" + _COUNT + ") / sum by (service) (" + _COUNT + ") > %g"
_5XX = ",http_response_status_code=~'5..'"
RULES = f"""\
groups:
  - name: shop
    interval: 1s
    rules:
      - alert: CheckoutFailing
        expr: "{_FAILING % ("gateway", _5XX, "gateway", "", 0.02)}"
        for: 12s
        labels: {{severity: page}}
        annotations: {{summary: "{{{{ $labels.service }}}} fails {{{{ $value | humanizePercentage }}}} of requests"}}
      - alert: CallsFailing
        expr: "{_FAILING % ("checkout", _5XX, "checkout", "", 0.1)}"
        for: 12s
        annotations: {{summary: "{{{{ $labels.service }}}} fails {{{{ $value | humanizePercentage }}}} of requests"}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(done: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    """Return what ``done`` returns once that is true."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if result := done():
                return result
        time.sleep(0.05)
    raise AssertionError(f"waited {timeout_s:g} s for {what}")


class Listener:
    """An HTTP server that hands each POST to ``answer``, which returns a status; requests are kept with their time."""

    def __init__(self, answer: Callable[[str, dict[str, str], bytes], int] = lambda *_: 200, port: int = 0) -> None:
        self.got: list[tuple[float, dict[str, str], bytes]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at = time.time()
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if len(body) < int(self.headers["Content-Length"]):  # the sender was killed
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                listener.got.append((at, headers, body))
                self.send_response(answer(self.path, headers, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        ThreadingHTTPServer.request_queue_size = 128
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a sender that was killed
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in list(self.got)]

    def __enter__(self) -> Listener:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def into_store(store: Store) -> Callable[[str, dict[str, str], bytes], int]:
    """Return an answer that keeps OTLP requests, durable before it says 200."""
    import gzip

    def answer(path: str, headers: dict[str, str], body: bytes) -> int:
        payload = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        store.append(DECODERS[path](payload, headers["content-type"], "shop"))
        return 200

    return answer


@contextlib.contextmanager
def process(command: list[str], log: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program with its output in a file, and end it and what it started."""
    with log.open("ab") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **more)
        try:
            yield child
        finally:
            end(child, signal.SIGTERM)


def end(child: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """End a process by a signal, its whole group if that does not help."""
    if child.poll() is None:
        child.send_signal(how)
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@contextlib.contextmanager
def hook(folder: Path, config: dict[str, Any], wait_s: float = 60) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run ``hypocenter hook`` with a configuration; yield its address and process once it serves and is warm."""
    file = folder / "hook.yaml"
    address = config.setdefault("listen", f"127.0.0.1:{free_port()}")
    file.write_text(json.dumps(config), encoding="utf-8")  # YAML is a superset
    command = [str(Path(sys.executable).with_name("hypocenter")), "hook", "--config", str(file)]
    with process(command, folder / "hook.log") as child:

        def ready() -> bool:
            assert child.poll() is None, (folder / "hook.log").read_text(encoding="utf-8")[-3000:]
            answer = httpx.get(f"http://{address}/readyz")
            return answer.status_code == 200 and (answer.json()["enrichment"] or "store" not in config)

        wait_for(ready, "the hook", wait_s)
        yield f"http://{address}", child


@contextlib.contextmanager
def prometheus(program: str, folder: Path, targets: dict[str, list[int]], alertmanager: str) -> Iterator[str]:
    """Run Prometheus that scrapes the services' ports every second; yield its address."""
    folder.mkdir()
    (folder / "rules.yml").write_text(RULES, encoding="utf-8")
    jobs = [
        {
            "job_name": service,
            "static_configs": [{"targets": [f"127.0.0.1:{p}" for p in ports], "labels": {"service": service}}],
        }
        for service, ports in targets.items()
    ]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with process([*command, f"--web.listen-address={address}"], folder / "log"):
        wait_for(lambda: httpx.get(f"http://{address}/-/ready").status_code == 200, "Prometheus")
        yield f"http://{address}"


@contextlib.contextmanager
def alertmanager(program: str, folder: Path, webhook: str, address: str) -> Iterator[str]:
    """Run Alertmanager that posts to ``webhook``, resolved alerts too; yield its address."""
    folder.mkdir()
    config = {
        "route": {
            "receiver": "hook",
            "group_by": ["alertname", "service"],
            "group_wait": "1s",
            "group_interval": "5s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
    }
    (folder / "alertmanager.yml").write_text(json.dumps(config), encoding="utf-8")
    command = [program, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'data'}"]
    command += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with process(command, folder / "log"):
        wait_for(lambda: httpx.get(f"http://{address}/-/ready").status_code == 200, "Alertmanager")
        yield f"http://{address}"
