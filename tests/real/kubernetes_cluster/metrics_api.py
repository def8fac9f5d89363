"""The resource metrics API (`metrics.k8s.io`), which autoscalers ask: each container uses what the test says."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from control_plane import ControlPlane
from workloads import Object, named

_VERSION = "metrics.k8s.io/v1beta1"
_RESOURCES = [{"name": "pods", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"], "singularName": ""}]


class MetricsApi:
    """``millicores`` by namespace is what each container there uses; 10 elsewhere."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.millicores: dict[str, int] = {}

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        """Return the document at a path below the API's root."""
        if "/namespaces/" not in path:
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": _VERSION, "resources": _RESOURCES}
        namespace = path.split("/namespaces/")[1].split("/")[0]
        chosen = query.get("labelSelector", [""])[0]
        pods = self.plane.read(f"/api/v1/namespaces/{namespace}/pods", labelSelector=chosen)["items"]
        return {"kind": "PodMetricsList", "apiVersion": _VERSION, "metadata": {}, "items": [*map(self._usage, pods)]}

    def _usage(self, pod: Object) -> Object:
        cpu = f"{self.millicores.get(pod['metadata']['namespace'], 10)}m"
        containers = [{"name": c["name"], "usage": {"cpu": cpu, "memory": "1Mi"}} for c in pod["spec"]["containers"]]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
        return {"metadata": metadata, "timestamp": now, "window": "10s", "containers": containers}


@contextmanager
def metrics_api(plane: ControlPlane) -> Iterator[MetricsApi]:
    """Serve the API on loopback and register it with the API server until the block ends."""
    key, certificate = plane.folder / "metrics.key", plane.folder / "metrics.crt"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    api = MetricsApi(plane)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            body = json.dumps(api.answer(path, urllib.parse.parse_qs(query))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        plane.apply(*_registration(server.server_port))
        yield api
    finally:
        plane.kubectl("delete", "apiservice", "v1beta1.metrics.k8s.io", "--ignore-not-found", check=False)
        server.shutdown()
        server.server_close()


def _registration(port: int) -> list[Object]:
    # The API server reaches it by name: no address of a Service leads anywhere without a node's proxy.
    where = named("v1", "Service", "metrics", "kube-system", spec={"type": "ExternalName", "externalName": "localhost"})
    spec = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "service": {"namespace": "kube-system", "name": "metrics", "port": port},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    return [where, named("apiregistration.k8s.io/v1", "APIService", "v1beta1.metrics.k8s.io", spec=spec)]
