"""N-sigma: the largest excursion of a series in its standard deviations."""

from typing import ClassVar

import numpy as np

from ..case import Case
from ..evidence.resources import split
from ..ranking import Ranking
from .scores import rank_by, require_metrics


class NSigma:
    """max over the window of |x - mean| over the standard deviation of the baseline."""

    name: ClassVar[str] = "n-sigma"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics"})
    source: ClassVar[str] = "textbook; in RCA: Lin et al., Microscope, ICSOC 2018"

    def rank(self, case: Case) -> Ranking:
        """Return services by their most anomalous series; a deviation has a floor of 1 % of |mean|, so units cancel."""
        require_metrics(case)
        normal, abnormal = split(case.metrics, case.alert_ns)
        with np.errstate(all="ignore"):
            counts = np.isfinite(normal).sum(axis=1)
            mean = np.nansum(normal, axis=1) / counts
            deviation = np.sqrt(np.nansum((normal - mean[:, None]) ** 2, axis=1) / counts)
            scale = np.maximum(deviation, 0.01 * np.abs(mean))
            z = np.fmax.reduce(np.abs(abnormal - mean[:, None]), axis=1, initial=np.nan) / scale
        return rank_by(self.name, case, np.where(scale > 0, z, np.nan))
