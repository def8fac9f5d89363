"""How often a ranker names more than the right service: the pod, the edge, the change, the indicator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..ranking import Candidate, Ranking
from .origins import Origin
from .runner import Prediction
from .scoring import wilson

Match = Callable[[Candidate, Origin], bool]


@dataclass(frozen=True, slots=True)
class GranularityScore:
    """One row: of ``n`` cases whose label tells this level, the share named at the first place and among three."""

    level: str
    ranker: str
    n: int
    ac: dict[int, float]
    ac_interval: dict[int, tuple[float, float]]


def _edge(candidate: Candidate, origin: Origin) -> bool:
    return candidate.kind == "edge" and origin.edge == tuple(candidate.entity.split(" -> "))


# Level -> (does the label tell it, does the candidate say the same). A pod counts where it is named or is the only one.
_LEVELS: dict[str, tuple[Callable[[Origin], bool], Match]] = {
    "service": (lambda o: True, lambda c, o: c.service == o.service),
    "pod": (lambda o: o.pod is not None, lambda c, o: c.pod == o.pod),
    "node": (lambda o: o.granularity == "node", lambda c, o: c.kind == "node" and c.entity == o.node),
    "edge": (lambda o: o.edge is not None, _edge),
    "change": (
        lambda o: o.granularity == "change",
        lambda c, o: c.service == o.service and c.kind in ("change", "object"),
    ),
    "indicator": (
        lambda o: o.indicator is not None,
        lambda c, o: c.service == o.service and c.indicator == o.indicator,
    ),
}


def score_granularity(predictions: Sequence[Prediction]) -> list[GranularityScore]:
    """Return a row per level and ranker, levels that no label tells left out.

    A case counts at a level if all its origins tell it; failed, not applicable and no origin count as wrong, and ties
    take the expected value, as in `hypocenter.analysis.evaluation.scoring`.
    """
    rankers = list(dict.fromkeys(p.ranking.ranker for p in predictions))
    rows = []
    for level, (told, match) in _LEVELS.items():
        for ranker in rankers:
            asked = [
                p
                for p in predictions
                if p.ranking.ranker == ranker and p.case.origins and all(map(told, p.case.origins))
            ]
            if asked:
                ac = {k: float(np.mean([_share(p, match, k) for p in asked])) for k in (1, 3)}
                rows.append(GranularityScore(level, ranker, len(asked), ac, {k: wilson(ac[k], len(asked)) for k in ac}))
    return rows


def _share(prediction: Prediction, match: Match, k: int) -> float:
    origins = prediction.case.origins
    if prediction.ranking.outcome != "ranked":
        return 0.0
    return sum(_hit(prediction.ranking, partial(_says, match, o), k) for o in origins) / min(k, len(origins))


def _says(match: Match, origin: Origin, candidate: Candidate) -> bool:
    return match(candidate, origin)


def _hit(ranking: Ranking, matches: Callable[[Candidate], bool], k: int) -> float:
    """Return the probability that a match is among the first ``k`` services, ties in random order."""
    first: dict[str, Candidate] = {}
    for candidate in ranking.candidates:
        first.setdefault(candidate.service, candidate)
    score = next((c.score for c in first.values() if matches(c)), None)
    if score is None:
        return 0.0
    above = sum(c.score > score for c in first.values())
    tied = sum(c.score == score for c in first.values())
    return min(max((k - above) / tied, 0.0), 1.0)
