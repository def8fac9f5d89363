"""Service-graph and span metrics of what comes in, summed as it comes, for a collector's ``/metrics``."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..tracer.store import Store
from ..tracer.window import MINUTE_NS, Window
from .metrics_text import live_metrics
from .rollup import STEP_NS, empty, merge, totals, within
from .slices import roll_up_segments

# How long a step waits for spans that come late, and how far a trace is looked at beyond the edges of an update.
SETTLE_NS = MINUTE_NS


class LiveMetrics:
    """Sums of the spans that started since this was made.

    Notes
    -----
    An update links what started since the one before and is a minute old; a span that comes later than that is not
    counted here (a graph of the store counts it). Memory is bounded by services, operations and edges.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._until_ns = clock() // STEP_NS * STEP_NS
        self._sum = empty()

    def update(self, store: Store) -> None:
        """Add the steps that are a minute old by now; raises SourceError as reading a store does."""
        end_ns = (self._clock() - SETTLE_NS) // STEP_NS * STEP_NS
        if end_ns <= self._until_ns:
            return
        window = Window(self._until_ns, end_ns)
        around = Window(window.start_ns - SETTLE_NS, window.end_ns + SETTLE_NS)
        found = within(roll_up_segments(store.paths("spans", around), around), window)
        # Counters have no time: one row a series.
        self._sum = merge([self._sum, totals(found, Window(0, end_ns))]) if found.operations.num_rows else self._sum
        self._until_ns = end_ns

    def text(self) -> str:
        """Return the sums as OpenMetrics."""
        return live_metrics(self._sum)
