"""The floor of every table: services in an order drawn by a seed."""

from typing import ClassVar

import numpy as np

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranking import Candidate, Ranking
from .scores import services_of


class Random:
    """All services tie, so that evaluation credits the expected value over random orders."""

    name: ClassVar[str] = "random"
    requires: ClassVar[frozenset[str]] = frozenset()
    source: ClassVar[str] = "chance"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def rank(self, case: Case) -> Ranking:
        """Return all services with score 0, shuffled by the seed; none raises `NotApplicable`."""
        names = services_of(case)
        if not names:
            raise NotApplicable("the telemetry names no service")
        np.random.default_rng(self._seed).shuffle(names)
        return Ranking(self.name, "ranked", tuple(Candidate(s, "service", s, None) for s in names))
