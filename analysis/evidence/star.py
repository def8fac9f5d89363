"""The star decomposition: a shift per edge becomes what its caller does to all its calls and what its callee adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Star:
    """``out`` and ``incoming`` by service in the units of the shifts; the ``caller`` of the worst edge, -1 for none."""

    out: np.ndarray
    incoming: np.ndarray
    caller: np.ndarray


def star_of(caller: np.ndarray, callee: np.ndarray, shift: np.ndarray, n: int) -> Star:
    """Decompose one shift per distinct edge; ``n`` is the number of services.

    out(u) is the lower median over u's callees, 0 with a single one, which cannot tell a stalled caller from a delayed
    callee; in(v) is the mean over v's callers of the shift less out(u).
    """
    out = np.zeros(n)
    order = np.lexsort((shift, caller))
    u, sorted_shift = caller[order], shift[order]
    start = np.flatnonzero(np.diff(u, prepend=-1))
    size = np.diff(np.append(start, len(u)))
    middle = start + (size - 1) // 2
    several = size > 1
    out[u[start[several]]] = sorted_shift[middle[several]]
    rest = shift - out[caller]
    incoming = np.bincount(callee, rest, n) / np.maximum(np.bincount(callee, minlength=n), 1)
    worst = np.full(n, -1)
    rising = np.argsort(rest, kind="stable")
    worst[callee[rising]] = caller[rising]
    return Star(out, incoming, worst)
