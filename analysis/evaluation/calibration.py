"""Are the probabilities honest: does what is called 70 % come true in 70 % of the cases?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .runner import Prediction

_BINS = 5


@dataclass(frozen=True, slots=True)
class Calibration:
    """Reliability of one ranker's first candidates.

    ``bins`` holds (mean probability, share that was right, n) in rising order, of equal mass; ``error`` is their mean
    absolute difference weighted by n, 0 is perfect; ``brier`` is the mean squared difference per case, 0 is perfect.
    """

    ranker: str
    n: int
    bins: tuple[tuple[float, float, int], ...]
    error: float
    brier: float


def calibrate(predictions: Sequence[Prediction]) -> list[Calibration]:
    """Return a row per ranker that gives probabilities, over labelled cases, the ones without a fault included.

    The event is "the service of the first candidate is a true origin"; on a window without a fault it never is. A
    no-origin keeps its probabilities, so they count as they stand.
    """
    found = []
    for ranker in dict.fromkeys(p.ranking.ranker for p in predictions):
        pairs = []
        for p in predictions:
            first = p.ranking.candidates[0] if p.ranking.candidates else None
            if p.ranking.ranker == ranker and p.case.answers is not None and first and first.probability is not None:
                pairs.append((first.probability, float(first.service in p.case.answers)))
        if pairs:
            found.append(_calibration(ranker, np.array(sorted(pairs))))
    return found


def _calibration(ranker: str, pairs: np.ndarray) -> Calibration:
    parts = np.array_split(pairs, min(_BINS, len(pairs)))
    bins = tuple((float(p[:, 0].mean()), float(p[:, 1].mean()), len(p)) for p in parts)
    error = sum(abs(said - true) * n for said, true, n in bins) / len(pairs)
    return Calibration(ranker, len(pairs), bins, float(error), float(((pairs[:, 0] - pairs[:, 1]) ** 2).mean()))
