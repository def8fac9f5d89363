"""Runs rankers over cases; whatever a ranker raises becomes a recorded failure, never an order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hypocenter.errors import NotApplicable

from ..case import Case
from ..ranker import create
from ..ranking import Ranking
from .cases import CaseReader, LabelledCase


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one ranker said of one case.

    ``seconds`` goes from telemetry tables to the ranking (linking included, reading files not); ``peak_rss_bytes`` is
    the process's peak during that time, the telemetry included, 0 where the system does not tell.
    """

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
                    "pod": c.pod,
                    "operation": c.operation,
                    "indicator": c.indicator,
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
    reader: CaseReader | None = None,
) -> Iterator[Prediction]:
    """Yield a prediction per case and ranker, in order; the telemetry of a case is read once and shared.

    A ``reader`` that is kept between runs spares reading the files again.
    """
    reader = reader or CaseReader()
    for index, labelled in enumerate(cases):
        if progress:
            progress(index, labelled.name)
        case: Case | None = None
        broken: str | None = None
        try:
            case = reader.read(labelled, alert_offset_s)
        except Exception as error:  # noqa: BLE001  an unreadable case is a failure of every ranker, not of the run
            broken = f"{type(error).__name__}: {error}"
        for name in rankers:
            _reset_peak()
            started = time.perf_counter()
            # A copy has none of the tables that another ranker derived, so each is charged for what it uses.
            ranking = Ranking(name, "failed", error=broken) if case is None else _rank(name, replace(case))
            yield Prediction(labelled, ranking, time.perf_counter() - started, _peak_rss_bytes())


def _rank(name: str, case: Case) -> Ranking:
    try:
        return create(name).rank(case)
    except NotApplicable as error:
        return Ranking(name, "not-applicable", error=str(error))
    except Exception as error:  # noqa: BLE001  the one place that may: a crash is recorded and counts as wrong
        return Ranking(name, "failed", error=f"{type(error).__name__}: {error}")


def _reset_peak() -> None:
    """Let Linux count the peak of resident memory anew; elsewhere nothing happens."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak_rss_bytes() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
