"""Kubernetes objects and events: from the API server, from files, and from the series of kube-state-metrics."""

from .rows import decode, event_row, object_row

__all__ = ["decode", "event_row", "object_row"]
