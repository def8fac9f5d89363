"""Bayes factors for a share that may have changed between a baseline and a window."""

from __future__ import annotations

import math

import numpy as np

_PRIOR = 0.5  # Jeffreys

_LGAMMA = np.vectorize(math.lgamma, otypes=[float])


def _log_beta(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(_LGAMMA(a) + _LGAMMA(b) - _LGAMMA(a + b))


def log_bayes_factor(hits_a: np.ndarray, n_a: np.ndarray, hits_b: np.ndarray, n_b: np.ndarray) -> np.ndarray:
    """Return nats in favour of two rates over one, beta-binomial with a Jeffreys prior; shape (n_tests,)."""

    def marginal(hits: np.ndarray, n: np.ndarray) -> np.ndarray:
        return np.asarray(_log_beta(hits + _PRIOR, n - hits + _PRIOR) - _log_beta(np.array(_PRIOR), np.array(_PRIOR)))

    return np.asarray(marginal(hits_a, n_a) + marginal(hits_b, n_b) - marginal(hits_a + hits_b, n_a + n_b))


def log_mean_exp(values: np.ndarray) -> float:
    """Return log(mean(exp(values))): the evidence of a family of tests, its multiplicity paid for."""
    return float(np.logaddexp.reduce(values) - np.log(len(values)))
