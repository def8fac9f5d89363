"""From evidence to a posterior over origins: nats are added, the onset is summed out, and "none" is an alternative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .evidence.finding import Evidence
from .onset import BASELINE_NS, SECOND_NS, Split

# No kind is infallible: beyond this many nats more of the same says little.
_CEILING = 20.0
# An origin explains nothing that began before it. Onsets are known to about this, and chance shows this many nats.
_EARLIER_NS = 30 * SECOND_NS
_CHANCE_NATS = 5.0
_LATE_NATS = 4.0  # two failures at once happen, so a later one is not ruled out


@dataclass(frozen=True)
class Posterior:
    """``nats`` (n_splits, n_services) of evidence; ``probability`` (n_services,) sums to 1 less that of no origin.

    ``score`` (n_services,) is the nats with the onset summed out, less what began before and so is not explained;
    ``onset`` the index of the split at which the evidence about each service begins.
    """

    splits: Sequence[Split]
    nats: np.ndarray
    parts: Mapping[str, np.ndarray]  # kind -> (n_splits, n_services), weighted
    score: np.ndarray
    probability: np.ndarray
    onset: np.ndarray


def soften(nats: np.ndarray) -> np.ndarray:
    """Return nats that saturate at a ceiling: x for small x, the ceiling for large x."""
    return np.asarray(_CEILING * np.tanh(nats / _CEILING))


def fuse(
    evidence: Sequence[Evidence], weights: Mapping[str, float], splits: Sequence[Split], nothing_nats: float
) -> Posterior:
    """Return the posterior; ``nothing_nats`` is the evidence that a quiet window of this system reaches by chance."""
    told = {e.kind: np.stack([e.score(split) for split in splits]) for e in evidence}
    parts = {kind: weights[kind] * soften(nats) for kind, nats in told.items()}
    nats = np.sum(list(parts.values()), axis=0)
    # Splits near the onset all reach the ceiling; what they told below it sets them apart.
    bare = np.sum([weights[kind] * nats for kind, nats in told.items()], axis=0)
    prior = np.array([split.log_prior for split in splits])
    prior = prior - np.logaddexp.reduce(prior)
    joint = nats + prior[:, None]
    onset = np.argmax(bare * _balance(splits)[:, None], axis=0)
    score = np.logaddexp.reduce(joint, axis=0) - _late(nats, splits, onset)
    weight = np.append(score, nothing_nats)
    probability = np.exp(weight - np.logaddexp.reduce(weight))[:-1]
    return Posterior(splits, nats, parts, score, probability, onset)


def _late(nats: np.ndarray, splits: Sequence[Split], onset: np.ndarray) -> np.ndarray:
    """Return the nats against each service for strong evidence about others that began clearly before its own."""
    began = np.array([splits[at].onset_ns for at in onset])
    strong = np.maximum(nats[onset, np.arange(len(onset))] - _CHANCE_NATS, 0.0)
    order = np.argsort(began, kind="stable")
    # The strongest of the first k services to begin, k = 0, 1, ...
    so_far = np.append(0.0, np.maximum.accumulate(strong[order]))
    return np.asarray(np.minimum(so_far[np.searchsorted(began[order], began - _EARLIER_NS)], _LATE_NATS))


def _balance(splits: Sequence[Split]) -> np.ndarray:
    """Return the weight of each split in the search for the onset, shape (n_splits,).

    A change of the mean by d has the log likelihood ratio d^2 a b / (a + b) for a before and b after it, so a split in
    the middle of the incident must show more than one at its beginning.
    """
    before = np.array([split.onset_ns - split.start_ns for split in splits], dtype=float)
    after = np.array([split.end_ns - split.onset_ns for split in splits], dtype=float)
    # With no baseline of its own a split compares with a quiet recording.
    before = np.where(before > 0, before, BASELINE_NS)
    return np.asarray(np.sqrt(before * after / (before + after)))
