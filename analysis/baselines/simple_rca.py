"""SimpleRCA: three votes that anybody would cast, metrics out of three sigma, slow spans, lines that say error."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranking import Ranking
from .scores import ABNORMAL_NS, excursion, ordered, services_of, split

_SIGMAS = 3.0
_SLOWER = 3.0
_WORDS = r"(?i)error|exception|fail|fatal|panic"


class SimpleRca:
    """Each vote is the service's share of all that was found; the score is their sum, 0 to 3."""

    name: ClassVar[str] = "simple-rca"
    requires: ClassVar[frozenset[str]] = frozenset()
    source: ClassVar[str] = "Fang et al., FSE 2026, arXiv:2510.04711; the weights of the votes are equal here"

    def rank(self, case: Case) -> Ranking:
        """Return services by votes; `NotApplicable` is raised without metrics, spans and logs."""
        votes = [v for v in (_metrics(case), _spans(case), _logs(case)) if v is not None]
        if not votes:
            raise NotApplicable("neither metrics, spans nor logs")
        scores = dict.fromkeys(services_of(case), 0.0)
        for vote in votes:
            total = float(vote.sum())
            for service, count in vote.items():
                if total and str(service) in scores:
                    scores[str(service)] += float(count) / total
        return ordered(self.name, scores)


def _metrics(case: Case) -> pd.Series | None:
    """Return the number of series out of three sigma by service."""
    if not len(case.metrics.time_ns):
        return None
    z = excursion(*split(case.metrics, case.alert_ns))
    return pd.Series(z > _SIGMAS).groupby(case.metrics.series.service.to_numpy()).sum()


def _spans(case: Case) -> pd.Series | None:
    """Return 1 for services whose 95th percentile of duration is more than three times that of before."""
    spans = case.telemetry.table("spans").select(["service", "start_ns", "duration_ns"]).to_pandas()
    quiet = case.baseline.table("spans").select(["service", "duration_ns"]).to_pandas()
    if spans.empty:
        return None
    before = pd.concat([quiet, spans.loc[spans.start_ns < case.alert_ns, ["service", "duration_ns"]]])
    inside = (spans.start_ns >= case.alert_ns) & (spans.start_ns < case.alert_ns + ABNORMAL_NS)
    usual = before.groupby("service").duration_ns.quantile(0.95)
    now = spans[inside].groupby("service").duration_ns.quantile(0.95)
    return (now > _SLOWER * usual.reindex(now.index)).astype(int)


def _logs(case: Case) -> pd.Series | None:
    """Return the number of lines with a word of failure by service, in the abnormal window."""
    logs = case.telemetry.table("logs").select(["service", "time_ns", "severity", "body"]).to_pandas()
    if logs.empty:
        return None
    logs = logs[(logs.time_ns >= case.alert_ns) & (logs.time_ns < case.alert_ns + ABNORMAL_NS)]
    bad = (logs.severity >= 17) | logs.body.str.contains(_WORDS)
    return bad.groupby(logs.service).sum()
