"""The hook's own metrics, for Prometheus to scrape, and its spans, to an OTLP endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

# Seconds; finest around the deadline.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COUNTERS = {
    "received": "Notifications accepted, by source",
    "refused": "Requests refused, by reason",
    "duplicates": "Redeliveries within the window, not sent again",
    "delivered": "Notifications confirmed by a receiver, by sink and by whether they were enriched",
    "attempts": "Attempts to deliver, by sink and outcome",
    "dead_letters": "Notifications given up, by sink and reason",
    "enrichments": "What notifications were enriched with, by outcome",
    "rankings": "Rankings, by outcome",
}
_DURATIONS = {
    "notification": "From a notification's arrival to its confirmed delivery",
    "ranking": "From asking for a ranking to its answer",
}


class Observe:
    """Counts, times and spans of the hook; ``gauge`` names are read when Prometheus asks."""

    def __init__(self, otlp: str | None = None) -> None:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import CollectorRegistry

        from .. import __version__

        resource = Resource.create({"service.name": "hypocenter-hook", "service.version": __version__})
        views = [View(instrument_name="*.duration", aggregation=ExplicitBucketHistogramAggregation(_BUCKETS))]
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(registry=self._registry)
        self._meters = MeterProvider([reader], resource, shutdown_on_exit=False, views=views)
        self._meter = self._meters.get_meter("hypocenter.hook")
        self._counters = {
            name: self._meter.create_counter(f"hypocenter_hook_{name}", description=text)
            for name, text in _COUNTERS.items()
        }
        self._durations = {
            name: self._meter.create_histogram(f"hypocenter_hook.{name}.duration", "s", text)
            for name, text in _DURATIONS.items()
        }
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        if otlp is not None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(_traces_url(otlp))))
        self._tracer = self._traces.get_tracer("hypocenter.hook")

    def count(self, counter: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""
        self._counters[counter].add(amount, labels)

    def time(self, duration: str, seconds: float, **labels: str) -> None:
        """Record a duration in seconds."""
        self._durations[duration].record(seconds, labels)

    def gauge(self, name: str, text: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Show what ``read`` gives, by sink."""

        def observe(_options: CallbackOptions) -> list[Observation]:
            return [Observation(value, {"sink": label} if label else {}) for label, value in read().items()]

        self._meter.create_observable_gauge(f"hypocenter_hook_{name}", [observe], description=text)

    @contextlib.contextmanager
    def span(
        self, name: str, attributes: Mapping[str, Any] | None = None, within: Context | None = None
    ) -> Iterator[Any]:
        """Record a span of the hook's own work, by default below the current one; an exception inside is kept in it."""
        with self._tracer.start_as_current_span(name, within, attributes=dict(attributes or {})) as span:
            yield span

    def to_text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def close(self) -> None:
        """Send what is left of the spans."""
        self._traces.shutdown()
        self._meters.shutdown()


def _traces_url(endpoint: str) -> str:
    from ..tracer.otlp.post import traces_url

    return traces_url(endpoint)
