"""OpenTelemetry of a replica: traces and logs leave through OTLP, metrics are scraped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.dbapi import CursorTracer, DatabaseApiIntegration
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import DropAggregation, ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .replica import Replica

EXPORT_EVERY_MS = 4000
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


def start(replica: Replica) -> Callable[[], None]:
    """Install the three providers and return the function that flushes and stops them."""
    resource = Resource.create(replica.resource)
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{replica.collector}/v1/traces")
    traces.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY_MS))
    trace.set_tracer_provider(traces)
    logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
    log_exporter = OTLPLogExporter(endpoint=f"{replica.collector}/v1/logs")
    logs.add_log_record_processor(BatchLogRecordProcessor(log_exporter, schedule_delay_millis=EXPORT_EVERY_MS))
    set_logger_provider(logs)
    shop_log = logging.getLogger(replica.service)
    shop_log.setLevel(logging.INFO)
    shop_log.addHandler(LoggingHandler(logger_provider=logs))
    meters = MeterProvider(
        resource=resource,
        metric_readers=[PrometheusMetricReader(scope_info_enabled=False)],
        views=[
            View(
                instrument_name="*.duration",
                aggregation=ExplicitBucketHistogramAggregation(_BUCKETS_S),
                attribute_keys={
                    "http.request.method",
                    "http.route",
                    "http.response.status_code",
                    "server.address",
                    "error.type",
                    "db.operation.name",
                    "db.system.name",
                },
            ),
            *(View(instrument_name=name, aggregation=DropAggregation()) for name in ("*.size", "*.returned_rows")),
        ],
    )
    metrics.set_meter_provider(meters)

    def stop() -> None:
        traces.shutdown()
        logs.shutdown()
        meters.shutdown()

    return stop


class _SummaryTracer(CursorTracer[Any]):
    """Names a span ``SELECT stock_moves``, the query summary of the conventions, rather than ``SELECT``."""

    def get_operation_name(self, cursor: Any, args: Sequence[Any]) -> str:
        words = str(args[0]).split()
        verb = words[0].upper()
        before = {"SELECT": "from", "DELETE": "from", "INSERT": "into", "UPDATE": "update"}.get(verb)
        lowered = [word.lower() for word in words]
        table = words[lowered.index(before) + 1] if before in lowered else ""
        return f"{verb} {table}".strip()


def traced_cursor() -> type[psycopg.Cursor[Any]]:
    """Return a cursor class whose statements are client spans with the attributes of the connection."""
    names = {"database": "info.dbname", "port": "info.port", "host": "info.host"}
    integration = DatabaseApiIntegration("opentelemetry.instrumentation.psycopg", "postgresql", names)
    tracer = _SummaryTracer(integration)

    class Cursor(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            integration.get_connection_attributes(self.connection)
            return tracer.traced_execution(self, super().execute, *args, **kwargs)

    return Cursor
