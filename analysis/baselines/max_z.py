"""The most anomalous service: the change of the mean, in standard deviations."""

from typing import ClassVar

import numpy as np

from ..case import Case
from ..evidence.resources import split
from ..ranking import Ranking
from .scores import rank_by, require_metrics


class MaxZ:
    """|mean of the window - mean of the baseline| over the standard deviation of the baseline."""

    name: ClassVar[str] = "max-z"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics"})
    source: ClassVar[str] = "textbook"

    def rank(self, case: Case) -> Ranking:
        """Return services by their most anomalous series; a deviation has a floor of 1 % of |mean|, so units cancel."""
        require_metrics(case)
        normal, abnormal = split(case.metrics, case.alert_ns)
        with np.errstate(all="ignore"):
            counts = np.isfinite(normal).sum(axis=1)
            mean = np.nansum(normal, axis=1) / counts
            deviation = np.sqrt(np.nansum((normal - mean[:, None]) ** 2, axis=1) / counts)
            scale = np.maximum(deviation, 0.01 * np.abs(mean))
            z = np.abs(np.nansum(abnormal, axis=1) / np.isfinite(abnormal).sum(axis=1) - mean) / scale
        return rank_by(self.name, case, np.where(scale > 0, z, np.nan))
