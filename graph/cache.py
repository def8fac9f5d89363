"""Rollups of a window of a store."""

from __future__ import annotations

from ..tracer.store import Store
from ..tracer.window import MINUTE_NS, Window
from .rollup import Rollups, within
from .slices import roll_up_segments

# A trace that begins or ends outside the window still explains the spans within.
_OVERLAP_NS = 5 * MINUTE_NS


def rollups(store: Store, window: Window) -> Rollups:
    """Return the rollups of the steps that start in ``window``, from the spans of ``store``."""
    around = Window(window.start_ns - _OVERLAP_NS, window.end_ns + _OVERLAP_NS)
    return within(roll_up_segments(store.paths("spans", around), around), window)
