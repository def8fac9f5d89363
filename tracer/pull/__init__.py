"""Telemetry that is pulled from the servers that hold it: Prometheus, Jaeger, Tempo, Zipkin, Alertmanager."""

from .build import fetcher, sources

__all__ = ["fetcher", "sources"]
