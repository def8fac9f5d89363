"""The endpoint that the shop exports to: OTLP over HTTP in, OTLP/JSON lines out."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_REQUESTS: dict[str, Any] = {"/v1/traces": ExportTraceServiceRequest, "/v1/logs": ExportLogsServiceRequest}
_IDS = ("traceId", "spanId", "parentSpanId")


class OtlpSink:
    """Collects export requests as they come; ``requests`` holds them by path, decoded, in order of arrival."""

    def __init__(self) -> None:
        self.requests: dict[str, list[dict[str, Any]]] = {path: [] for path in _REQUESTS}
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                sink.requests[self.path].append(to_otlp_json(_REQUESTS[self.path].FromString(body)))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where to export to."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> OtlpSink:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def to_otlp_json(message: Any) -> dict[str, Any]:
    """Return a request as OTLP's JSON: ids in hex, where protobuf's own JSON has base64, and enums as numbers."""
    request: dict[str, Any] = MessageToDict(message, use_integers_for_enums=True)
    _hex_ids(request)
    return request


def _hex_ids(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _IDS and isinstance(item, str):
                value[key] = base64.b64decode(item).hex()
            else:
                _hex_ids(item)
    elif isinstance(value, list):
        for item in value:
            _hex_ids(item)


def to_lines(requests: list[dict[str, Any]]) -> str:
    """Return one request a line, as the file exporter of the Collector writes them."""
    return "".join(json.dumps(request, separators=(",", ":"), ensure_ascii=False) + "\n" for request in requests)
