"""BARO's RobustScorer: the largest excursion over the interquartile range."""

from typing import ClassVar

from ..case import Case
from ..ranking import Ranking
from .scores import largest, quartiles, rank_by, require_metrics, scaled, split


class Robust:
    """max over the window of (x - median) / IQR of the baseline (equation of section 3.3), at the given alert time."""

    name: ClassVar[str] = "robust"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics"})
    source: ClassVar[str] = "Pham, Ha, Zhang: BARO, FSE 2024, doi:10.1145/3660805"

    def rank(self, case: Case) -> Ranking:
        """Return services by their largest robust excursion; the scale has a floor of 1 % of |median|."""
        require_metrics(case)
        normal, abnormal = split(case.metrics, case.alert_ns)
        low, centre, high = quartiles(normal)
        return rank_by(self.name, case, scaled(largest(abnormal) - centre, centre, high - low))
