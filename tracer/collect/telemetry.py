"""What the collector tells about itself: OpenTelemetry instruments, read as Prometheus text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from .request import Work

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Telemetry:
    """Counters of one collector. ``accepted`` and ``refused`` count requests, the rest items."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        buckets = View(instrument_unit="s", aggregation=ExplicitBucketHistogramAggregation(_SECONDS))
        self._provider = MeterProvider([reader], Resource({"service.name": "hypocenter-collect"}), views=[buckets])
        self._meter = self._provider.get_meter("hypocenter.collect")
        make = self._meter.create_counter
        self._accepted = make("hypocenter.collect.accepted", description="requests whose rows are durable")
        self._refused = make("hypocenter.collect.refused", description="requests refused, by reason")
        self._stored = make("hypocenter.collect.stored", description="rows durable in the store, by signal")
        self._rejected = make("hypocenter.collect.rejected", description="items not stored, by reason")
        self._repaired = make("hypocenter.collect.repaired", description="items mended or masked, by reason")
        self._deaths = make("hypocenter.collect.worker.deaths", description="workers that died and were replaced")
        self._upkeep = make("hypocenter.collect.upkeep.runs", description="runs of upkeep, by outcome")
        seconds = self._meter.create_histogram
        self._latency = seconds("hypocenter.collect.commit.duration", unit="s", description="a commit, by step")
        self._lag = seconds("hypocenter.collect.lag", unit="s", description="end of the newest span to durable")

    def accepted(self, door: str) -> None:
        """Count a request that was answered with success."""
        self._accepted.add(1, {"door": door})

    def refused(self, door: str, reason: str) -> None:
        """Count a request that was answered with an error."""
        self._refused.add(1, {"door": door, "reason": reason})

    def committed(self, work: Work) -> None:
        """Count what a commit stored, rejected and mended, and how long it took."""
        for counter, counts, label in (
            (self._stored, work.stored, "signal"),
            (self._rejected, work.rejected, "reason"),
            (self._repaired, work.repaired, "reason"),
        ):
            for name, count in counts.items():
                counter.add(count, {label: name})
        for step, seconds in work.seconds.items():
            self._latency.record(seconds, {"step": step})
        if work.lag_s is not None:
            self._lag.record(work.lag_s)

    def worker_died(self) -> None:
        """Count a worker that died."""
        self._deaths.add(1)

    def upkeep(self, outcome: str) -> None:
        """Count a run of upkeep."""
        self._upkeep.add(1, {"outcome": outcome})

    def observe_queue(self, held: Callable[[], tuple[int, int]]) -> None:
        """Let the queue's bytes and requests be read whenever the metrics are."""

        def measured(place: int) -> Callable[[CallbackOptions], Iterable[Observation]]:
            return lambda _options: [Observation(held()[place])]

        self._meter.create_observable_gauge("hypocenter.collect.queue.size", [measured(0)], unit="By")
        self._meter.create_observable_gauge("hypocenter.collect.queue.requests", [measured(1)])

    def observe_sources(
        self, failures: Callable[[], Mapping[str, int]], failing: Callable[[], Mapping[str, int]]
    ) -> None:
        """Let the failures of each source, and whether it fails now, be read whenever the metrics are."""

        def each(read: Callable[[], Mapping[str, int]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
            return lambda _options: [Observation(value, {"source": name}) for name, value in read().items()]

        make = self._meter
        make.create_observable_counter(
            "hypocenter.collect.source.failures", [each(failures)], description="failures of a source"
        )
        make.create_observable_gauge(
            "hypocenter.collect.source.failing", [each(failing)], description="1 while a source fails"
        )

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the format that an ``Accept`` header asks for, OpenMetrics or older, and its type."""
        write, content_type = choose_encoder(accept)
        return write(self._registry), content_type

    def close(self) -> None:
        """Stop measuring."""
        self._provider.shutdown()
