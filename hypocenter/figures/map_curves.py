"""The lines of a service map: where a call runs, and where the pointer finds it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from .map_layout import Point


def loop(at: Point, size: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return points (n, 2) of the call of a node to itself, ``size`` (2,) wide and high; ``steps`` run from 0 to 1."""
    turn = steps[:, None] * 2 * np.pi
    found: np.ndarray = np.hstack([0.8 * np.sin(turn), 1 - np.cos(turn)]) * size + at
    return found


def smooth(stops: Sequence[Point], steps: np.ndarray) -> np.ndarray:
    """Return points (n, 2) of the line of a call from stop to stop, horizontal at each."""
    parts: list[np.ndarray] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(stops):
        reach = (x1 - x0) * 0.45
        # A call back to the left bows downwards, clear of the call that it answers.
        bow = -0.9 if x1 <= x0 and len(stops) == 2 else 0.0
        control = np.array([[x0, y0], [x0 + reach, y0 + bow], [x1 - reach, y1 + bow], [x1, y1]])
        t = steps[:, None]
        weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
        parts.append((weights @ control)[1 if parts else 0 :])
    return np.vstack(parts)


def clear_point(curve: np.ndarray, centres: np.ndarray, reach: np.ndarray) -> int:
    """Return which point of a line, the middle one first, lies beyond the ``reach`` (n,) of all ``centres`` (n, 2).

    Where none does, as between nodes that touch, it is the middle.
    """
    middle = len(curve) // 2
    for at in sorted(range(len(curve)), key=lambda at: abs(at - middle)):
        if np.all(np.hypot(*(centres - curve[at]).T) > reach):
            return at
    return middle
