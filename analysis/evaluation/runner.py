"""Runs rankers over cases; whatever a ranker raises becomes a recorded failure, never an order."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranker import create
from ..ranking import Ranking
from .cases import LabelledCase


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one ranker said of one case; ``seconds`` excludes reading the files."""

    case: LabelledCase
    ranking: Ranking
    seconds: float
    peak_rss_bytes: int

    def to_dict(self) -> dict[str, object]:
        """Return the line of the predictions file."""
        return {
            "case": self.case.name,
            "ranker": self.ranking.ranker,
            "outcome": self.ranking.outcome,
            "candidates": [
                {
                    "entity": c.entity,
                    "kind": c.kind,
                    "service": c.service,
                    "probability": c.probability,
                    "onset_ns": c.onset_ns,
                }
                for c in self.ranking.candidates
            ],
            "error": self.ranking.error,
            "seconds": round(self.seconds, 6),
            "peak_rss_bytes": self.peak_rss_bytes,
        }


def run(
    cases: Sequence[LabelledCase],
    rankers: Sequence[str],
    alert_offset_s: float = 0.0,
    progress: Callable[[int, str], None] | None = None,
) -> Iterator[Prediction]:
    """Yield a prediction per case and ranker, in order; the telemetry of a case is read once and shared."""
    for index, labelled in enumerate(cases):
        if progress:
            progress(index, labelled.name)
        case: Case | None = None
        broken: str | None = None
        try:
            case = labelled.build(alert_offset_s)
        except Exception as error:  # noqa: BLE001  an unreadable case is a failure of every ranker, not of the run
            broken = f"{type(error).__name__}: {error}"
        for name in rankers:
            started = time.perf_counter()
            ranking = Ranking(name, "failed", error=broken) if case is None else _rank(name, case)
            seconds = time.perf_counter() - started
            yield Prediction(labelled, ranking, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _rank(name: str, case: Case) -> Ranking:
    try:
        return create(name).rank(case)
    except NotApplicable as error:
        return Ranking(name, "not-applicable", error=str(error))
    except Exception as error:  # noqa: BLE001  the one place that may: a crash is recorded and counts as wrong
        return Ranking(name, "failed", error=f"{type(error).__name__}: {error}")
