"""Bayes factors for a share that may have changed between a baseline and an incident window."""

from __future__ import annotations

import numpy as np

_PRIOR = 0.5  # Jeffreys
_LOG_PRIOR_BETA = float(np.log(np.pi))  # log B(1/2, 1/2)
# Visits are not independent: beyond this many more of them say nothing new, and a drift of the mix is no proof.
_ENOUGH = 300.0
_RECORDING_NATS = 6.0  # against two recordings of one system differing in a share


def log_gamma(x: np.ndarray) -> np.ndarray:
    """Return log Gamma(x) for x > 0, within 1e-10: Stirling's series after a shift by 6."""
    x = np.asarray(x, dtype=float)
    shift = np.log(x * (x + 1) * (x + 2) * (x + 3) * (x + 4) * (x + 5))
    y = x + 6.0
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * y * y)) / (y * y)) / (y * y)) / y
    return np.asarray((y - 0.5) * np.log(y) - y + 0.5 * np.log(2 * np.pi) + series - shift)


def _log_marginal(hits: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.asarray(
        log_gamma(hits + _PRIOR) + log_gamma(n - hits + _PRIOR) - log_gamma(n + 2 * _PRIOR) - _LOG_PRIOR_BETA
    )


def log_bayes_factor(hits_a: np.ndarray, n_a: np.ndarray, hits_b: np.ndarray, n_b: np.ndarray) -> np.ndarray:
    """Return nats in favour of two rates over one, beta-binomial with a Jeffreys prior; shape (n_tests,).

    Counts beyond 300 are scaled down to 300 at the same share.
    """
    (a, na), (b, nb) = _bounded(hits_a, n_a), _bounded(hits_b, n_b)
    return np.asarray(_log_marginal(a, na) + _log_marginal(b, nb) - _log_marginal(a + b, na + nb))


def log_onset_factor(hits: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return nats in favour of a share that changed at the onset; both arguments have shape (3, n_tests).

    The rows are the quiet recording, what precedes the onset, and the incident. Two recordings may differ without a
    fault, and an outage may end: "the quiet one has another share" and "what precedes has another share, and the
    incident is as the quiet one" are rivals of "the incident has another share", with a prior of e^-6 each. So a change
    that precedes the onset is no evidence, and a change against the quiet recording alone is limited.
    """
    (q, nq), (b, nb), (a, na) = (_bounded(h, m) for h, m in zip(hits, n, strict=True))
    quiet, before, now = _log_marginal(q, nq), _log_marginal(b, nb), _log_marginal(a, na)
    changed = np.logaddexp(_log_marginal(q + b, nq + nb) + now, quiet + before + now - _RECORDING_NATS)
    same = _log_marginal(q + b + a, nq + nb + na)
    other = quiet + _log_marginal(b + a, nb + na) - _RECORDING_NATS
    ended = before + _log_marginal(q + a, nq + na) - _RECORDING_NATS
    return np.asarray(changed - np.logaddexp(same, np.logaddexp(other, np.where(nq > 0, ended, -np.inf))))


def _bounded(hits: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.minimum(1.0, _ENOUGH / np.maximum(n, 1))
    return hits * scale, n * scale


def log_mean_exp_by(values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Return log(mean(exp(values))) by group, shape (n_groups,): a family's evidence, its multiplicity paid for.

    A group without values is -inf.
    """
    top = np.full(n_groups, -np.inf)
    np.maximum.at(top, group, values)
    shifted = np.exp(values - top[group])
    count = np.bincount(group, minlength=n_groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, top + np.log(np.bincount(group, shifted, n_groups) / count), -np.inf)
