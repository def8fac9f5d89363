"""BARO's RobustScorer: the largest excursion over the interquartile range."""

from typing import ClassVar

import numpy as np

from ..case import Case
from ..evidence.resources import quartiles, split
from ..ranking import Ranking
from .scores import rank_by, require_metrics


class Robust:
    """max over the window of (x - median) / IQR of the baseline (equation of section 3.3), at the given alert time."""

    name: ClassVar[str] = "robust"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics"})
    source: ClassVar[str] = "Pham, Ha, Zhang: BARO, FSE 2024, doi:10.1145/3660805"

    def rank(self, case: Case) -> Ranking:
        """Return services by their largest robust excursion; the scale has a floor of 1 % of |median|."""
        require_metrics(case)
        normal, abnormal = split(case.metrics, case.alert_ns)
        with np.errstate(all="ignore"):
            low, centre, high = quartiles(normal)
            scale = np.maximum(high - low, 0.01 * np.abs(centre))
            score = np.fmax.reduce(abnormal - centre[:, None], axis=1, initial=np.nan) / scale
        return rank_by(self.name, case, np.where(scale > 0, score, np.nan))
