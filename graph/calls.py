"""The rows of the edge rollup by caller and callee: totals, durations, burstiness, kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .durations import Durations

# Spans without a service.name.
UNNAMED = "(no service.name)"
# When one name is seen as several kinds, the one that says most stays.
_KINDS = ("service", "database", "cache", "messaging", "external", "entry", "unknown")
_RANK = {kind: rank for rank, kind in enumerate(_KINDS)}
_DURATIONS = {"client": "client_duration", "server": "server_duration", "gap": "gap", "queue": "queue"}


@dataclass(frozen=True)
class Calls:
    """Edges in the order of (source, target), as every result here.

    ``ends`` has their ``source``, ``target``, ``kind`` and ``caller_kind``; row i of ``table``
    (`hypocenter.graph.rollup.EDGES`) belongs to the edge ``number[i]``.
    """

    table: pa.Table
    ends: pd.DataFrame
    number: npt.NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table) -> Calls:
        """Return the rows of an edge rollup by caller and callee."""
        callers, caller = _coded(table["caller"], UNNAMED)
        callees, callee = _coded(table["callee"], UNNAMED)
        pairs, number = np.unique(caller * max(1, len(callees)) + callee, return_inverse=True)
        source, target = np.divmod(pairs, max(1, len(callees)))
        ends = pd.DataFrame({"source": callers[source], "target": callees[target]}, dtype="str")
        ends["kind"] = _best_kind(table["callee_kind"], number, len(ends))
        ends["caller_kind"] = _best_kind(table["caller_kind"], number, len(ends))
        ends["caller_kind"] = ends["caller_kind"].replace("external", "entry")
        ends.loc[ends["caller_kind"] == "entry", "kind"] = "entry"
        return cls(table, ends, number)

    def total(self, column: str) -> npt.NDArray[np.int64]:
        """Return the sum of a column per edge."""
        return np.bincount(self.number, self.table[column].to_numpy(), len(self.ends)).astype(np.int64)

    @cached_property
    def durations(self) -> dict[str, Durations]:
        """Durations per edge by side: client, server, gap, queue."""
        size = len(self.ends)
        return {side: Durations.of(self.table[name], self.number, size) for side, name in _DURATIONS.items()}

    def dispersion(self, steps: float, step_ns: int) -> npt.NDArray[np.float64]:
        """Return variance / mean of the calls in a step of each edge, adjusted for sampling.

        A Poisson process has 1, and k where one call in k is seen: it is never below what a call stands for.
        """
        rows = pd.DataFrame({"edge": self.number, "time_ns": self.table["time_ns"].to_numpy() // step_ns})
        rows["calls"] = self.table["adjusted_milli"].to_numpy() / 1000
        # Calls of one edge and step may stand in several rows, one per kind of node.
        per_step = rows.groupby(["edge", "time_ns"], as_index=False)["calls"].sum()
        edge, calls = per_step["edge"].to_numpy(), per_step["calls"].to_numpy()
        mean = np.bincount(edge, calls, len(self.ends)) / steps
        least = self.total("adjusted_milli") / 1000 / self.total("count")
        return np.maximum(least, (np.bincount(edge, calls**2, len(self.ends)) / steps - mean**2) / mean)

    def node_kinds(self, ids: list[str]) -> list[str]:
        """Return the kind of each node, as its calls on either side tell it; without calls it is a service."""
        callees = self.ends["kind"].mask(self.ends["kind"] == "entry", "service")
        as_callee = pd.Series(callees.to_numpy(), self.ends["target"])
        as_caller = pd.Series(self.ends["caller_kind"].to_numpy(), self.ends["source"])
        rank = pd.concat([as_callee, as_caller]).map(_RANK).groupby(level=0).min()
        return [_KINDS[rank.get(node, _RANK["service"])] for node in ids]


def best_kinds(names: Sequence[str], kinds: Sequence[str]) -> dict[str, str]:
    """Return for each name, of which ``kinds`` are seen, the kind that says most."""
    ranks = pd.Series(kinds, dtype="object").map(_RANK).groupby(np.array(names, dtype=object)).min()
    return {str(name): _KINDS[rank] for name, rank in ranks.items()}


def _coded(column: pa.ChunkedArray, missing: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct names in order, and the place of each row's name among them."""
    encoded = pc.dictionary_encode(pc.fill_null(column, missing)).combine_chunks()
    names = np.array(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(names)
    return names[order], np.argsort(order)[encoded.indices.to_numpy().astype(np.int64)]


def _best_kind(column: pa.ChunkedArray, number: np.ndarray, size: int) -> list[str]:
    """Return the kind that says most of each group ``number``."""
    names, code = _coded(column, "unknown")
    best = np.full(size, len(_KINDS) - 1)
    np.minimum.at(best, number, np.array([_RANK.get(name, len(_KINDS) - 1) for name in names], dtype=np.int64)[code])
    return [_KINDS[rank] for rank in best]
