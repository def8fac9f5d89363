"""Pods that share a node's processors: one that takes most of their time keeps the others waiting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..onset import Split
from .series import Series, matches, median

_USAGE, _NO_USAGE = r"(?i)usage|used|seconds|busy|time", r"(?i)throttl|limit|request|quota|period|wait"
_MOST = 0.5  # of what a node's pods use, and of what they use more than before
_FEWEST_PODS = 3  # of which one takes most: of two, one nearly always does


@dataclass(frozen=True)
class Contention:
    """The processor time by pod: ``rows`` of the series, one name for all, with the code of each one's node."""

    series: Series
    rows: np.ndarray
    node: np.ndarray

    @classmethod
    def of(cls, series: Series) -> Contention:
        """Return the series of processor time whose node is known, those of the name that most pods have."""
        usage = (series.role == "cpu") & series.own & ~series.relative & pd.notna(series.node) & pd.notna(series.pod)
        rows = np.flatnonzero(usage)
        names = series.name[rows]
        rows = rows[matches(names, _USAGE) & ~matches(names, _NO_USAGE)] if len(rows) else rows
        code, distinct = pd.factorize(series.name[rows])
        rows = rows[code == np.bincount(code).argmax()] if len(distinct) else rows
        node, nodes = pd.factorize(series.node[rows])
        enough = np.bincount(node, minlength=len(nodes)) >= _FEWEST_PODS
        return cls(series, rows[enough[node]], node[enough[node]])

    def takers(self, split: Split, growing: np.ndarray) -> np.ndarray:
        """Return the rows whose pods use most of their node's time, and most of what is used more than before.

        Only ``growing``, rows of the series, are asked for; the other nodes are not looked at.
        """
        asked = np.isin(self.rows, growing)
        if not asked.any():
            return np.empty(0, "i8")
        beside = np.isin(self.node, self.node[asked])
        series, rows, node = self.series, self.rows[beside], self.node[beside]
        now = np.nan_to_num(median(series.raw[rows, series.after(split)]))
        before, quiet = median(series.raw[rows, series.before(split)]), median(series.quiet_raw[rows])
        more = np.maximum(now - np.where(np.isfinite(before), before, np.nan_to_num(quiet)), 0.0)
        of_all, of_more = (np.bincount(node, part)[node] for part in (now, more))
        return np.asarray(rows[asked[beside] & (now > _MOST * of_all) & (more > _MOST * of_more)])

    def waiting(self, takers: np.ndarray, nats: np.ndarray) -> np.ndarray:
        """Return what each service loses for standing beside one of ``takers``, given ``nats`` by service."""
        lost = np.zeros(len(nats))
        if not len(takers):
            return lost
        service, taken = self.series.service[self.rows], np.isin(self.rows, takers)
        by_node = np.zeros(int(self.node.max()) + 1)
        np.maximum.at(by_node, self.node[taken], nats[service[taken]])
        pods = np.bincount(service, minlength=len(nats))
        # As far as its pods stand there.
        lost = np.bincount(service, by_node[self.node], len(nats)) / np.maximum(pods, 1)
        lost[service[taken]] = 0.0
        return np.asarray(lost)
