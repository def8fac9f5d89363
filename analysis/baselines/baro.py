"""BARO: find the onset by Bayesian change points, then score by robust excursions from there."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..case import MINUTE_NS, Case
from ..ranking import Ranking
from .bayesian_change_point import change_points
from .scores import (
    ABNORMAL_NS,
    NORMAL_NS,
    largest,
    quartiles,
    rank_by,
    require_metrics,
    roles,
    scaled,
    split,
)

_SEARCH_NS = 15 * MINUTE_NS
_MOST_SERIES, _MOST_STEPS = 20, 400


class Baro:
    """The scorer of `robust` at the first change point around the alert of the latency and error series."""

    name: ClassVar[str] = "baro"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics"})
    source: ClassVar[str] = "Pham, Ha, Zhang: BARO, FSE 2024, doi:10.1145/3660805"

    def rank(self, case: Case) -> Ranking:
        """Return services by their largest robust excursion after the detected onset.

        Deviation from the paper: its detection costs minutes, so at most 400 steps around the alert and the 20 series
        that vary most (after min-max scaling) are searched; without any change point the alert time stands.
        """
        require_metrics(case)
        normal, abnormal = split(case.metrics, self._onset_ns(case))
        low, centre, high = quartiles(normal)
        return rank_by(self.name, case, scaled(largest(abnormal) - centre, centre, high - low))

    def _onset_ns(self, case: Case) -> int:
        metrics = case.metrics
        around = (metrics.time_ns >= case.alert_ns - NORMAL_NS) & (metrics.time_ns < case.alert_ns + ABNORMAL_NS)
        columns = np.flatnonzero(around)
        columns = columns[:: max(1, -(-len(columns) // _MOST_STEPS))]
        values = metrics.values[np.isin(roles(case), ("latency", "error"))][:, columns]
        low = np.fmin.reduce(values, axis=1, initial=np.nan) if values.size else np.empty(0)
        span = largest(values) - low if values.size else low
        moving = np.flatnonzero(np.nan_to_num(span) > 0)
        if not len(moving):
            return case.alert_ns
        unit = np.nan_to_num((values[moving] - low[moving, None]) / span[moving, None])
        chosen = np.argsort(-unit.std(axis=1), kind="stable")[:_MOST_SERIES]
        times = metrics.time_ns[columns]
        found = [int(times[s]) for s in change_points(unit[chosen].T) if abs(times[s] - case.alert_ns) <= _SEARCH_NS]
        return found[0] if found else case.alert_ns
