"""Answers of the OTLP protocol: responses with partial success, and google.rpc.Status for refusals.

Source: opentelemetry.io/docs/specs/otlp (OTLP/gRPC and OTLP/HTTP, failures and throttling).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import orjson
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from hypocenter.errors import Overloaded, SourceError

from ..otlp.decode import JSON
from .request import Accepted, Refused

_RESPONSES: Final[dict[str, tuple[Any, str]]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
}
# Codes of google.rpc.Code; 8 is retried only because its status says when.
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 3, 8, 13, 14, 16


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than success; ``retry_after_s`` is None when it must not be tried again."""

    reason: str
    code: int
    http: int
    message: str
    retry_after_s: int | None = None

    def status(self) -> Status:
        """Return the body."""
        status = Status(code=self.code, message=self.message)
        if self.retry_after_s is not None:
            detail = AnyMessage()
            info = RetryInfo()
            info.retry_delay.seconds = self.retry_after_s
            detail.Pack(info)
            status.details.append(detail)
        return status

    def body(self, content_type: str) -> bytes:
        """Return the body in the encoding of the request."""
        if content_type == JSON:
            return orjson.dumps(MessageToDict(self.status()))
        body: bytes = self.status().SerializeToString()
        return body


def response(kind: str, accepted: Accepted, content_type: str) -> bytes:
    """Return the body of a success; the partial success is left out when every item was taken."""
    message, rejected = _RESPONSES[kind]
    made = message()
    if accepted.rejected:
        setattr(made.partial_success, rejected, accepted.rejected)
        made.partial_success.error_message = accepted.message
    if content_type == JSON:
        return orjson.dumps(MessageToDict(made))
    body: bytes = made.SerializeToString()
    return body


def refusal(error: BaseException) -> Refusal:
    """Return the answer to a request that failed with ``error``."""
    match error:
        case Overloaded():
            seconds = math.ceil(error.retry_after_s)
            return Refusal("overload", RESOURCE_EXHAUSTED, 429, str(error), seconds)
        case SourceError() if error.retryable:
            return Refusal("store", UNAVAILABLE, 503, str(error), 5)
        case Refused():
            return Refusal("malformed", INVALID_ARGUMENT, 400, str(error))
        case TimeoutError():
            return Refusal("timeout", UNAVAILABLE, 503, "not durable in time; try again", 5)
    # A store that cannot be written may be mended by people, and the sender still has the data.
    return Refusal("internal", UNAVAILABLE, 503, "the collector failed; see its log", 30)
