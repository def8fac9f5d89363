"""The doors of the decoder: the bytes of OTLP requests in, a Batch out; nothing is read or kept besides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson
import pyarrow as pa
from google.protobuf.message import DecodeError as ProtobufError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally
from ..garbage import collection_paused
from . import arrow, json_arrow, logs, metrics, pieces, spans
from .any_value import Malformed
from .json_view import view_of
from .nested import Undecided

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_SPACE: Final = b" \t\r\n"
_LARGE_BYTES: Final = 64 * 1024  # of OTLP/JSON: below, the fast route takes longer to begin than the plain one to end
REQUESTS: Final[dict[str, Any]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}


def decode_traces(payload: bytes, content_type: str = PROTOBUF, source: str = "otlp") -> Batch:
    """Return the spans of one ExportTraceServiceRequest.

    ``content_type`` is `PROTOBUF` or `JSON`, parameters such as a charset are ignored; ``source`` becomes the column of
    that name. Spans without ids or time are dropped and counted. Raises DecodeError for bytes that are no such request.
    """
    return decode("traces", payload, content_type, source)


def decode_metrics(payload: bytes, content_type: str = PROTOBUF, source: str = "otlp") -> Batch:
    """Return the series and points of one ExportMetricsServiceRequest; otherwise as `decode_traces`."""
    return decode("metrics", payload, content_type, source)


def decode_logs(payload: bytes, content_type: str = PROTOBUF, source: str = "otlp") -> Batch:
    """Return the log records of one ExportLogsServiceRequest; otherwise as `decode_traces`."""
    return decode("logs", payload, content_type, source)


def decode(signal: str, payload: bytes, content_type: str = PROTOBUF, source: str = "otlp") -> Batch:
    """Return the tables of one request of ``signal``: traces, metrics or logs."""
    return decode_group(signal, [payload], content_type, source)


def decode_group(signal: str, payloads: Sequence[bytes], content_type: str, source: str) -> Batch:
    """Return the tables of several requests of one signal and encoding, as one batch; one broken payload fails all."""
    encoding = content_type.partition(";")[0].strip().lower()
    if encoding == PROTOBUF:
        return decode_protobuf(signal, payloads, source)
    if encoding != JSON:
        raise DecodeError(source, "content type", f"expected {PROTOBUF} or {JSON}, got {content_type[:100]!r}")
    if signal == "traces" and sum(map(len, payloads)) >= _LARGE_BYTES:
        batch = decode_json_traces([payload.strip(_SPACE) for payload in payloads], source)
        if batch is not None:
            return batch
    return decode_json(signal, [parsed(payload, source) for payload in payloads], source)


@collection_paused()
def decode_protobuf(signal: str, payloads: Sequence[bytes], source: str, *, route: str | None = None) -> Batch:
    """Return the tables of several serialized requests of one signal, as one batch; one broken payload fails all.

    ``route`` is ``ptars`` (traces only) or ``protobuf``, with equal results; None takes ptars where it is installed.
    """

    def tables(tally: Tally) -> dict[str, pa.Table]:
        if signal == "traces" and (route == "ptars" or (route is None and arrow.is_available())):
            with suppress(Undecided):
                return {"spans": spans.finish(arrow.gather(payloads), source, tally)}
        return _tables(signal, map(REQUESTS[signal].FromString, payloads), source, tally)

    return _guarded(tables, source)


@collection_paused()
def decode_json(signal: str, requests: Sequence[object], source: str) -> Batch:
    """Return the tables of several parsed OTLP/JSON requests of one signal, as one batch; a broken one fails all."""
    view = view_of(REQUESTS[signal].DESCRIPTOR)
    return _guarded(lambda tally: _tables(signal, map(view, requests), source, tally), source)


@collection_paused()
def decode_json_traces(texts: Sequence[bytes], source: str) -> Batch | None:
    """Return the spans of several OTLP/JSON requests as `decode_json` does of their parsed values, but far faster.

    None where `decode_json` has the last word: for requests that are broken, or written in a way that is not usual.
    """
    if not texts or not all(map(json_arrow.is_trace_request, texts)):
        return None
    tally = Tally()
    try:
        table = spans.finish(pieces.gather(texts), source, tally)
    except (Undecided, Malformed):
        return None
    return Batch({"spans": table} if table.num_rows else {}, tally)


@collection_paused()
def parsed(payload: bytes, source: str) -> object:
    """Return the parsed JSON of ``payload``; raises DecodeError."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise DecodeError(source, f"offset {error.pos}", f"expected JSON: {error.msg}") from None


def _tables(signal: str, requests: Iterable[Any], source: str, tally: Tally) -> dict[str, pa.Table]:
    match signal:
        case "traces":
            return {"spans": spans.finish(spans.gather(requests), source, tally)}
        case "metrics":
            return metrics.decode(requests, source, tally)
        case _:
            return logs.decode(requests, source, tally)


def _guarded(work: Callable[[Tally], dict[str, pa.Table]], source: str) -> Batch:
    tally = Tally()
    try:
        tables = work(tally)
    except Malformed as error:
        raise DecodeError(source, "request", str(error)) from None
    except ProtobufError as error:
        raise DecodeError(source, "request", f"expected a protobuf message: {error}") from None
    return Batch({signal: table for signal, table in tables.items() if table.num_rows}, tally)
