"""Kubernetes objects and events: from the API server, from files, and from the series of kube-state-metrics."""

from .collector import Kubernetes, source
from .rows import decode, event_row, object_row
from .versions import Versions, order, read_versions

__all__ = ["Kubernetes", "Versions", "decode", "event_row", "object_row", "order", "read_versions", "source"]
