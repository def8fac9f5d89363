"""The most anomalous service: the change of the mean, in standard deviations."""

from typing import ClassVar

from ..case import Case
from ..ranking import Ranking
from .scores import mean_shift, rank_by, require_metrics, split


class MaxZ:
    """|mean of the window - mean of the baseline| over the standard deviation of the baseline."""

    name: ClassVar[str] = "max-z"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics"})
    source: ClassVar[str] = "textbook"

    def rank(self, case: Case) -> Ranking:
        """Return services by their most anomalous series; a deviation has a floor of 1 % of |mean|, so units cancel."""
        require_metrics(case)
        return rank_by(self.name, case, mean_shift(*split(case.metrics, case.alert_ns)))
