"""An evaluation as tables: a row per method, and a row per bin of what was said and came true."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from .calibration import Calibration
from .scoring import Score, wilson

BOARD = ["ranker", "n", "ac1", "ac1_low", "ac1_high", "ac3", "ac5", "avg5", "mrr", "specificity", "failed", "median_s"]


def by_accuracy(scores: Sequence[Score]) -> list[Score]:
    """Return the rows from the best to the worst: by AC@1, then Avg@5, then name; unknown last."""

    def known(value: float) -> float:
        return -1.0 if math.isnan(value) else value

    return sorted(scores, key=lambda s: (-known(s.ac[1]), -known(s.avg5), s.ranker))


def board(scores: Sequence[Score]) -> pd.DataFrame:
    """Return a row per score (`BOARD`), the best first; NaN is unknown, ``median_s`` seconds a case."""
    rows = [
        (
            *(s.ranker, s.n, s.ac[1], *s.ac_interval[1], s.ac[3], s.ac[5], s.avg5, s.mrr),
            *(math.nan if s.specificity is None else s.specificity, s.failed, s.median_seconds),
        )
        for s in by_accuracy(scores)
    ]
    return pd.DataFrame(rows, columns=BOARD)


def bins(calibrations: Sequence[Calibration]) -> pd.DataFrame:
    """Return a row per bin: ranker, said, right with its 95 % Wilson interval (low, high), n."""
    rows = [(c.ranker, said, right, *wilson(right, n), n) for c in calibrations for said, right, n in c.bins]
    return pd.DataFrame(rows, columns=["ranker", "said", "right", "low", "high", "n"])
