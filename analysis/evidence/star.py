"""The star decomposition: a shift per edge becomes what its caller does to all its calls and what its callee adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What delays one caller's calls of several weighs this much of what delays all of them.
_ALONE = 0.7


@dataclass(frozen=True)
class Star:
    """``out`` and ``incoming`` by service in the units of the shifts; the ``caller`` of the worst edge, -1 for none."""

    out: np.ndarray
    incoming: np.ndarray
    caller: np.ndarray


def star_of(caller: np.ndarray, callee: np.ndarray, shift: np.ndarray, n: int, well: np.ndarray | None = None) -> Star:
    """Decompose one shift per distinct edge of ``n`` services; ``well`` marks those whose own work did not slow down.

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
    # One caller's calls alone may be held up, by a lock say: where its other calls are well it is not the caller.
    alone = np.full(n, -np.inf)
    told = np.isin(caller, u[start[several]])
    if well is not None:
        told |= well[caller]
    np.maximum.at(alone, callee[told], rest[told])
    incoming = np.maximum(incoming, _ALONE * alone)
    worst = np.full(n, -1)
    rising = np.argsort(rest, kind="stable")
    worst[callee[rising]] = caller[rising]
    return Star(out, incoming, worst)
