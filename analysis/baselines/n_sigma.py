"""N-sigma: the largest excursion of a series in its standard deviations."""

from typing import ClassVar

from ..case import Case
from ..ranking import Ranking
from .scores import excursion, rank_by, require_metrics, split


class NSigma:
    """max over the window of |x - mean| over the standard deviation of the baseline."""

    name: ClassVar[str] = "n-sigma"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics"})
    source: ClassVar[str] = "textbook; in RCA: Lin et al., Microscope, ICSOC 2018"

    def rank(self, case: Case) -> Ranking:
        """Return services by their most anomalous series; a deviation has a floor of 1 % of |mean|, so units cancel."""
        require_metrics(case)
        return rank_by(self.name, case, excursion(*split(case.metrics, case.alert_ns)))
