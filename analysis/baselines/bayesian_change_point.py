"""Multivariate Bayesian online change-point detection, as BARO uses it to find when an incident began."""

from __future__ import annotations

import math

import numpy as np

_HAZARD = 1 / 50


def change_points(values: np.ndarray) -> list[int]:
    """Return the steps at which the likeliest run length falls, for ``values`` of shape (n_times, n_series).

    The predictive of a run is a multivariate Student t from a normal-inverse-Wishart prior (mean 0, precision scale 1,
    n_series + 1 degrees of freedom). Cost: O(n_times^2 n_series^2).

    References
    ----------
    Adams, MacKay: Bayesian online changepoint detection, arXiv:0710.3742, algorithm 1. Pham, Ha, Zhang: BARO, FSE 2024,
    section 3.2.

    >>> steps = np.concatenate([np.zeros(40), np.ones(20)])[:, None] + np.tile([0.0, 0.02], 30)[:, None]
    >>> change_points(steps)
    [40]
    """
    n, d = values.shape
    likeliest = np.zeros(n + 1, dtype=int)
    run = np.ones(1)  # P(run length | data so far)
    mean, kappa, dof = np.zeros((1, d)), np.ones(1), np.full(1, d + 1.0)
    # The inverse of the scatter matrix and its log determinant follow each rank-one update (Sherman, Morrison).
    inverse, log_det = np.eye(d)[None], np.zeros(1)
    for step, x in enumerate(values):
        off = x - mean
        weight = kappa / (kappa + 1)
        pulled = np.einsum("rij,rj->ri", inverse, off)
        distance = np.einsum("ri,ri->r", off, pulled)
        predictive = np.exp(_student(distance, weight, dof, log_det, d))
        grown = run * predictive * (1 - _HAZARD)
        run = np.concatenate([[(run * predictive).sum() * _HAZARD], grown])
        total = run.sum()
        run = run / total if total > 0 else np.full(len(run), 1 / len(run))
        likeliest[step + 1] = int(run.argmax())
        growth = 1 + weight * distance
        inverse = inverse - (weight / growth)[:, None, None] * pulled[:, :, None] * pulled[:, None, :]
        inverse = np.concatenate([np.eye(d)[None], inverse])
        log_det = np.concatenate([[0.0], log_det + np.log(growth)])
        mean = np.concatenate([np.zeros((1, d)), (kappa[:, None] * mean + x) / (kappa[:, None] + 1)])
        kappa, dof = np.concatenate([[1.0], kappa + 1]), np.concatenate([[d + 1.0], dof + 1])
    falls = np.flatnonzero(np.diff(likeliest) < 0) + 1
    return [int(step - likeliest[step]) for step in falls]


def _student(distance: np.ndarray, weight: np.ndarray, dof: np.ndarray, log_det: np.ndarray, d: int) -> np.ndarray:
    """Return the log density of the predictive t with ``dof - d + 1`` degrees of freedom, shape (n_runs,)."""
    nu = dof - d + 1
    lgamma = np.vectorize(math.lgamma, otypes=[float])
    # The t's scale is scatter / (weight x nu), so its squared distance is weight x nu x distance.
    log_scale = log_det - d * np.log(weight * nu)
    constant = lgamma((nu + d) / 2) - lgamma(nu / 2) - d / 2 * np.log(nu * math.pi) - log_scale / 2
    return np.asarray(constant - (nu + d) / 2 * np.log1p(weight * distance))
