"""PRISM: an origin is odd inside and outside, its victims are odd outside only."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranking import Ranking
from .scores import EXTERNAL, INTERNAL, best_by_service, excursion, ordered, require_metrics, roles, split


class Prism:
    """M = I + E - log(1 + I + E), with I and E the largest |z| over internal and external series of a service."""

    name: ClassVar[str] = "prism"
    requires: ClassVar[frozenset[str]] = frozenset({"metrics"})
    source: ClassVar[str] = "Pham: PRISM, arXiv:2601.21359, 2026"

    def rank(self, case: Case) -> Ranking:
        """Return services by M, higher is likelier the origin.

        Internal are CPU, memory, disk and sockets, external latency, errors and rate. Where one side has no series the
        other counts alone; `NotApplicable` is raised when no service has an internal series.
        """
        require_metrics(case)
        role = roles(case)
        if not np.isin(role, INTERNAL).any():
            raise NotApplicable("no metric of CPU, memory, disk or sockets")
        z = excursion(*split(case.metrics, case.alert_ns))
        inside = best_by_service(case, np.where(np.isin(role, INTERNAL), z, np.nan))
        outside = best_by_service(case, np.where(np.isin(role, EXTERNAL), z, np.nan))
        scores = {}
        for service, internal in inside.items():
            known = [value for value in (internal, outside[service]) if np.isfinite(value)]
            scores[service] = float(sum(known) - np.log1p(sum(known))) if known else -np.inf
        return ordered(self.name, scores)
