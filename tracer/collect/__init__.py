"""Live telemetry into the store: doors that others push through, sources that pull, one committer for all."""

from .source import Health, Sink, Source

__all__ = ["Health", "Sink", "Source"]
