"""The store: append-only Parquet segments that become visible whole."""

from .segment import Segment
from .store import Store

__all__ = ["Segment", "Store"]
