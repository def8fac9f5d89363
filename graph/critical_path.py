"""Critical paths: which spans decided how long each request took, exactly, all trees at once.

The walk is that of CRISP (Zhang et al., USENIX ATC 2022, section 3): from the end of a span back to its start, always
into the child that returned last, and on from where that child began. What no child covers on the way is its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .ordering import Ints, ordered

Flags = npt.NDArray[np.bool_]
_EVER = np.iinfo(np.int64)


def on_path(parent: Ints, start_ns: Ints, duration_ns: Ints, rank: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """Return how long each span is on the critical path of its root, alone and with what it called, shapes (n,).

    ``parent`` is the position of the parent, -1 for a root. A span is cut to its parent's interval; one that lies
    outside of it (asynchronous work) is on no path. Of siblings that end together the one that begins later is waited
    for, then the one of higher ``rank``. The times alone of all spans add up to the durations of the roots. Spans in a
    circle are on no path.

    Notes
    -----
    O(n log n): what holds for all ancestors is found by doubling, so deep trees and large families take few rounds.
    """
    # Only spans with children are above others; a place after all of them is above the roots, and lasts for ever.
    inner = np.flatnonzero(np.bincount(parent[parent >= 0], minlength=len(parent)))
    place = np.full(len(parent) + 1, len(inner))
    place[inner] = np.arange(len(inner))
    above = place[parent]
    up = np.append(above[inner], len(inner))
    first, last = np.append(start_ns[inner], _EVER.min), np.append((start_ns + duration_ns)[inner], _EVER.max)
    way = up
    for _ in range(len(inner).bit_length() + 1):
        if (way == len(inner)).all():
            break
        first, last, way = np.maximum(first, first[way]), np.minimum(last, last[way]), way[way]
    # A way up that does not end is a circle.
    up, is_below_root = np.where(way == len(inner), up, len(inner)), way == len(inner)
    begin, end = np.maximum(start_ns, first[above]), np.minimum(start_ns + duration_ns, last[above])
    whole = np.where(is_below_root[above], np.maximum(0, end - begin), 0)
    child = np.flatnonzero((whole > 0) & (parent >= 0))
    is_waited_for = (parent < 0) | _are_waited_for(parent, child, begin, end, rank)
    is_on_path = np.append(is_waited_for[inner], True)
    while not (up == len(inner)).all():
        is_on_path, up = is_on_path & is_on_path[up], up[up]
    whole[~(is_waited_for & is_on_path[above])] = 0
    alone = whole.copy()
    np.subtract.at(alone, parent[child], whole[child])
    return alone, whole


def _are_waited_for(parent: Ints, child: Ints, begin: Ints, end: Ints, rank: npt.NDArray[Any]) -> Flags:
    """Tell which spans are on their parents' paths: the last to end, then the last to end before it began, and so on.

    ``child`` are those that last, with a parent.
    """
    found = np.zeros(len(parent), bool)
    found[child] = True
    several = child[np.bincount(parent[child], minlength=len(parent))[parent[child]] > 1]
    ranked = several[ordered(parent[several], begin[several])]
    family = parent[ranked]
    overlaps = (family[1:] == family[:-1]) & (end[ranked[:-1]] > begin[ranked[1:]])
    # Siblings one after the other are all waited for; only the others need the walk.
    in_parallel = np.zeros(len(parent), bool)
    in_parallel[family[1:][overlaps]] = True
    ranked = ranked[in_parallel[family]]
    ranked = ranked[ordered(parent[ranked], end[ranked], begin[ranked], rank[ranked])]
    found[ranked] = _walked(parent[ranked], begin[ranked], end[ranked])
    return found


def _walked(family: Ints, begin: Ints, end: Ints) -> Flags:
    """Tell which of siblings sorted by family and end the walk back from the last one meets."""
    n = len(family)
    # Ends and begins in one order: an end at the very moment of a begin comes before it.
    is_begin = np.repeat([False, True], n)
    order = ordered(np.concatenate([family, family]), np.concatenate([end, begin]), is_begin)
    ended = np.cumsum(~is_begin[order])
    before = np.empty(n + 1, np.int64)
    begins = is_begin[order]
    before[order[begins] - n] = ended[begins] - 1
    # Where nothing of the family had ended, the walk is over: it stays at a place after all.
    before[n] = n
    before[:n] = np.where((before[:n] >= 0) & (family[np.maximum(before[:n], 0)] == family), before[:n], n)
    met = np.ones(n + 1, bool)
    met[: n - 1] = family[1:] != family[:-1]
    while not (before == n).all():
        met[before[met]] = True
        before = before[before]
    return met[:n]
