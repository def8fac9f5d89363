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
# Of the labelled origins that evidence could look at, about this share shows it nothing.
_SHOWS_NOTHING = 0.05
_UNFORESEEN = 0.04  # share of failures whose origin no kind of evidence can see


@dataclass(frozen=True)
class Posterior:
    """``nats`` (n_splits, n_services) of evidence; ``probability`` (n_services,).

    The probabilities sum to 1 less that of no origin and of one that no evidence can see.

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
    evidence: Sequence[Evidence],
    weights: Mapping[str, float],
    splits: Sequence[Split],
    nothing_nats: float,
    unsure: np.ndarray,
    looked_at: np.ndarray,
) -> Posterior:
    """Return the posterior.

    ``nothing_nats`` is what a quiet window of this system reaches by chance, ``unsure`` (n_splits,) what it reaches
    more at a split with little before it; ``looked_at`` (n_services,) marks the services with telemetry: that it shows
    nothing speaks for them.
    """
    told = {e.kind: np.stack([e.score(split) for split in splits]) for e in evidence}
    parts = {kind: weights[kind] * soften(nats) for kind, nats in told.items()}
    nats = np.sum(list(parts.values()), axis=0)
    # Splits near the onset all reach the ceiling; what they told below it sets them apart.
    bare = np.sum([weights[kind] * nats for kind, nats in told.items()], axis=0)
    prior = np.array([split.log_prior for split in splits])
    prior = prior - np.logaddexp.reduce(prior) - unsure
    joint = nats + prior[:, None]
    onset = np.argmax(bare * _balance(splits)[:, None], axis=0)
    score = np.logaddexp.reduce(joint, axis=0) - _late(nats - unsure[:, None], splits, onset)
    weight = np.append(score + np.where(looked_at, _absence(score), 0.0), nothing_nats)
    probability = (1 - _UNFORESEEN) * np.exp(weight - np.logaddexp.reduce(weight))[:-1]
    return Posterior(splits, nats, parts, score, probability, onset)


def _absence(score: np.ndarray) -> np.ndarray:
    """Return the nats that a service looked at loses: nearly none with evidence, -3 where nothing was found."""
    return np.asarray(np.log1p(-(1 - _SHOWS_NOTHING) * np.exp(-np.maximum(score, 0.0))))


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
