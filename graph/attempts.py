"""The calls of one request to one callee: how many they are, and which of them are retries or hedges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from .ordering import Ints, ordered, runs

Flags = npt.NDArray[np.bool_]


def requests_of(parent: Ints, begins: Flags) -> Ints:
    """Return for each span the one by which its service took up the request: itself or the nearest above that begins.

    ``parent`` is the position of the parent, -1 for none; what has none begins. A span that no such span is above (in a
    circle) stands alone.
    """
    alone = np.arange(len(parent))
    top = np.where(begins, alone, parent)
    for _ in range(len(parent).bit_length() + 1):
        further = top[top]
        if (further == top).all():
            break
        top = further
    found: Ints = np.where(begins[top], top, alone)
    return found


def shared(values: Ints) -> Ints:
    """Return the positions of values that stand there several times."""
    ranked = np.sort(values)
    found: Ints = np.flatnonzero(np.isin(values, ranked[1:][ranked[1:] == ranked[:-1]]))
    return found


@dataclass(frozen=True, slots=True)
class Attempts:
    """Calls of which several are of one request to one callee, a value per call.

    ``pair`` numbers request and callee; ``asked`` and ``answered`` the operation, as the caller's span and as the
    server names it, negative where no server was recorded.
    """

    pair: Ints
    asked: Ints
    answered: Ints
    start_ns: Ints
    end_ns: Ints
    has_failed: Flags

    def counts(self) -> dict[str, Ints]:
        """Return 1 or 0 per call: ``caller_requests``, ``retries`` and ``hedges`` (docs/linking.md, Attempts)."""
        found = {name: np.zeros(len(self.pair), np.int64) for name in ("caller_requests", "retries", "hedges")}
        # Numbers without gaps leave room to sort by the start as well, in one go.
        pair, _ = pd.factorize(self.pair)
        ranked = ordered(pair, self.start_ns, self.end_ns)
        found["caller_requests"][ranked[runs(pair[ranked])]] = 1
        alike, _ = pd.factorize(pair * (int(self.asked.max(initial=0)) + 1) + self.asked)
        ranked = ordered(alike, self.start_ns, self.end_ns, self.has_failed, self.answered)
        before, after = ranked[:-1], ranked[1:]
        is_known = (self.answered[before] >= 0) & (self.answered[after] >= 0)
        is_alike = (alike[before] == alike[after]) & (~is_known | (self.answered[before] == self.answered[after]))
        is_hedge = self.start_ns[after] < self.end_ns[before]
        found["hedges"][after[is_alike & is_hedge]] = 1
        found["retries"][after[is_alike & ~is_hedge & self.has_failed[before]]] = 1
        return found
