"""What runs in the pods that kwok only plays: ``python containers.py APP CLUSTER OTLP``, a process for each app.

A container listens while its pod runs on a ready node, at the address of the pod: 10.a.b.c is 127.a.b.c here, so that
all is on loopback. Calls go where the EndpointSlices of the called Service lead, so what the cluster gets wrong is felt
as in a real one: nobody listens, no endpoint is ready, a port is wrong, a policy lets nobody in. Spans carry the
identity of the pod and leave over OTLP. The app ``entry`` is the Ingress and its users.
"""

from __future__ import annotations

import json
import signal
import socketserver
import sys
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from seen import Seen

CALLS = {"entry": "web", "web": "api", "api": "db"}
# Longer than the jitter of a busy machine.
WORK_S = {"entry": 0.0, "web": 0.02, "api": 0.03, "db": 0.02}
REQUESTS_PER_S = 2.0
_TIMEOUT_S = 3.0
_CONTEXT = TraceContextTextMapPropagator()
_PASSWORD = "X-Password"


@dataclass
class App:
    """One app: what it knows of the cluster, and where its spans go."""

    name: str
    seen: Seen
    otlp: str

    def tracer(self, namespace: str, **pod: str) -> tuple[TracerProvider, Tracer]:
        """Return the tracer of one container."""
        identity = {"service.name": self.name, "service.namespace": namespace, **pod}
        provider = TracerProvider(resource=Resource(identity), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{self.otlp}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        return provider, provider.get_tracer("shop")

    def work(self, span: Span, tracer: Tracer, namespace: str, source: str, password: str | None) -> int:
        """Do what a request asks for and return its HTTP status."""
        time.sleep(WORK_S[self.name])
        status = 200
        if self.name == "api":
            time.sleep(int(self.seen.setting(namespace, "delay_ms")) / 1000)
        elif self.name == "db" and password != self.seen.first_password(namespace):
            status = 401
        elif self.name == "entry" and not self.seen.routes(namespace, "web"):
            status = 503
        if status == 200 and self.name in CALLS:
            status = 200 if self._call(tracer, namespace, CALLS[self.name], source) == 200 else 502
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        return status

    def _call(self, tracer: Tracer, namespace: str, service: str, source: str) -> int:
        """Return the status of a call to a Service, 0 without an answer."""
        about = {"http.request.method": "GET", "server.address": service, "server.port": 80}
        with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=about) as span:
            try:
                address, port = self.seen.endpoint(namespace, service)
                connection = HTTPConnection(address, port, timeout=_TIMEOUT_S, source_address=(source, 0))
                headers = {_PASSWORD: self.seen.password(namespace)} if service == "db" else {}
                _CONTEXT.inject(headers)
                connection.request("GET", "/", headers=headers)
                status = connection.getresponse().status
                connection.close()
            except OSError as error:
                span.set_status(StatusCode.ERROR, str(error))
                span.set_attribute("error.type", type(error).__name__)
                return 0
            span.set_attribute("http.response.status_code", status)
            if status >= 400:
                span.set_status(StatusCode.ERROR)
            return status


@dataclass
class Container:
    """The server of one pod."""

    app: App
    pod: dict[str, Any]
    address: str
    server: socketserver.TCPServer = field(init=False)

    def __post_init__(self) -> None:
        app, address, metadata = self.app, self.address, self.pod["metadata"]
        namespace = metadata["namespace"]
        identity = {f"k8s.pod.{key}": metadata[key] for key in ("uid", "name")}
        identity |= {"k8s.namespace.name": namespace, "k8s.node.name": self.pod["spec"]["nodeName"]}
        self.provider, tracer = app.tracer(namespace, **identity)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                context = _CONTEXT.extract(dict(self.headers.items()))
                with tracer.start_as_current_span("GET /", context=context, kind=SpanKind.SERVER) as span:
                    status = app.work(span, tracer, namespace, address, self.headers.get(_PASSWORD))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def verify_request(self, request: Any, client_address: Any) -> bool:
                return app.seen.admits(namespace, app.name, client_address[0])

        port = self.pod["spec"]["containers"][0]["ports"][0]["containerPort"]
        self.server = Server((address, port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        """Stop as a killed container does: what it told so far is sent."""
        self.server.shutdown()
        self.server.server_close()
        self.provider.shutdown()


def run_pods(app: App, stop: threading.Event) -> None:
    """Start and stop containers as the cluster says, until told to stop."""
    running: dict[str, Container] = {}
    while not stop.is_set():
        wanted = app.seen.running(app.name)
        for uid in running.keys() - wanted.keys():
            running.pop(uid).stop()
        for uid in wanted.keys() - running.keys():
            pod = wanted[uid]
            running[uid] = Container(app, pod, app.seen.local(pod["status"]["podIP"]))
        stop.wait(0.2)
    for container in running.values():
        container.stop()


def run_entry(app: App, namespaces: list[str], stop: threading.Event) -> None:
    """Let users ask every shop, at a steady pace whatever the answers, until told to stop."""

    def users(namespace: str, number: int) -> None:
        provider, tracer = app.tracer(namespace)
        pace_s = 1 / REQUESTS_PER_S
        due = time.monotonic() + pace_s * number / len(namespaces)
        while not stop.wait(max(due - time.monotonic(), 0.0)):
            due += pace_s
            threading.Thread(target=ask, args=(tracer, namespace), daemon=True).start()
        provider.shutdown()

    def ask(tracer: Tracer, namespace: str) -> None:
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER) as span:
            app.work(span, tracer, namespace, "127.0.0.1", None)

    threads = [threading.Thread(target=users, args=(name, i)) for i, name in enumerate(namespaces)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Run one app until SIGTERM."""
    name, cluster, otlp = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = json.loads(cluster)
    seen = Seen(**settings)
    seen.start(stop)
    app = App(name, seen, otlp)
    if name == "entry":
        run_entry(app, settings["namespaces"], stop)
    else:
        run_pods(app, stop)


if __name__ == "__main__":
    main()
