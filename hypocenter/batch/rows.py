"""What the tables of a batch pass tell of a ranking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..analysis.ranking import Ranking
from ..errors import SourceError


def is_passing(error: Exception) -> bool:
    """Tell whether asking again may help, so that ``error`` is no answer to keep."""
    return isinstance(error, SourceError) and error.retryable


def answer(ranking: Ranking) -> dict[str, Any]:
    """Return what a row of incidents tells of its ranking."""
    row: dict[str, Any] = {
        "outcome": ranking.outcome,
        "not_checked": "; ".join(ranking.not_checked) or None,
        "error": ranking.error,
    }
    if ranking.outcome != "ranked" or not ranking.candidates:
        return row
    first = ranking.candidates[0]
    return row | {
        "origin": first.entity,
        "kind": first.kind,
        "service": first.service,
        "probability": first.probability,
        "onset": first.onset_ns,
        "path": " -> ".join(first.path),
        "why": "; ".join(evidence.text for evidence in first.evidence_for),
    }


def candidates(name: str, ranking: Ranking) -> Iterator[dict[str, Any]]:
    """Yield a row for each candidate, in order."""
    for rank, candidate in enumerate(ranking.candidates, 1):
        yield {
            "incident": name,
            "rank": rank,
            "entity": candidate.entity,
            "kind": candidate.kind,
            "service": candidate.service,
            "probability": candidate.probability,
            "score_nats": candidate.score,
            "onset": candidate.onset_ns,
        }
