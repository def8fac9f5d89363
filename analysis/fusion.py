"""From evidence to a posterior over origins: nats are added, the onset is summed out, and "none" is an alternative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .evidence.finding import Evidence
from .onset import Split

# No kind is infallible: beyond this many nats more of the same says little.
_CEILING = 20.0


@dataclass(frozen=True)
class Posterior:
    """``nats`` (n_splits, n_services) of evidence; ``probability`` (n_services,) sums to 1 less that of no origin.

    ``best`` is the index of the most likely split for each service; ``score`` (n_services,) the nats with the onset
    summed out.
    """

    splits: Sequence[Split]
    nats: np.ndarray
    parts: Mapping[str, np.ndarray]  # kind -> (n_splits, n_services), weighted
    score: np.ndarray
    probability: np.ndarray
    best: np.ndarray

    @property
    def onset_ns(self) -> int:
        """The onset under which the evidence for any one service is strongest."""
        leader = int(np.argmax(self.score))
        return self.splits[int(self.best[leader])].onset_ns


def soften(nats: np.ndarray) -> np.ndarray:
    """Return nats that saturate at a ceiling: x for small x, the ceiling for large x."""
    return np.asarray(_CEILING * np.tanh(nats / _CEILING))


def fuse(
    evidence: Sequence[Evidence], weights: Mapping[str, float], splits: Sequence[Split], nothing_nats: float
) -> Posterior:
    """Return the posterior; ``nothing_nats`` is the evidence that a quiet window of this system reaches by chance."""
    parts = {e.kind: weights[e.kind] * soften(np.stack([e.score(split) for split in splits])) for e in evidence}
    nats = np.sum(list(parts.values()), axis=0)
    prior = np.array([split.log_prior for split in splits])
    prior = prior - np.logaddexp.reduce(prior)
    joint = nats + prior[:, None]
    score = np.logaddexp.reduce(joint, axis=0)
    weight = np.append(score, nothing_nats)
    probability = np.exp(weight - np.logaddexp.reduce(weight))[:-1]
    return Posterior(splits, nats, parts, score, probability, np.argmax(joint, axis=0))
