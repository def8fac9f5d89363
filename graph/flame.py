"""The call trees of many traces laid over each other: where their time goes, by path from the entry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

COLUMNS = ["path", "parent", "service", "operation", "count", "total_s", "self_s", "errors"]
_DEEPEST = 200
_SERVER, _CLIENT = 2, 3


def paths(visits: pa.Table) -> pd.DataFrame:
    """Return a row per distinct path of service and operation from an entry, callers before callees.

    Parameters
    ----------
    visits
        `hypocenter.graph.link.Links.visits` of whole traces.

    Returns
    -------
    Columns ``path`` (number), ``parent`` (number of the caller's path, -1 for an entry), ``service``, ``operation``,
    ``count`` of spans, ``total_s`` (their durations), ``self_s`` (their exclusive time), ``errors``. Durations are sums
    over the traces.

    Notes
    -----
    A span whose parent was not recorded begins a path of its own. Paths deeper than 200 spans end there. The cost is
    linear in spans, times the depth of the deepest trace.
    """
    wanted = ["trace_id", "span_id", "parent_span_id", "service", "operation", "kind", "duration_ns", "exclusive_ns"]
    frame = visits.select([*wanted, "is_error"]).to_pandas()
    above = _parents(frame)
    service, services = pd.factorize(frame.service.fillna(""))
    operation, operations = pd.factorize(frame.operation.fillna(""))
    name = service * (len(operations) + 1) + operation
    path = np.full(len(frame), -1)
    level = np.flatnonzero(above < 0)
    told: list[pd.DataFrame] = []
    known = 0
    children = pd.Series(np.arange(len(frame)), index=above).sort_index(kind="stable")
    owners, rows = children.index.to_numpy(), children.to_numpy()
    for _ in range(_DEEPEST):
        if not len(level):
            break
        parent = np.where(above[level] < 0, -1, path[above[level]])
        codes, distinct = pd.factorize(pd.MultiIndex.from_arrays([parent, name[level]]))
        path[level] = known + codes
        heads = pd.DataFrame(list(distinct), columns=["parent", "name"])
        told.append(heads.assign(path=np.arange(known, known + len(heads))))
        known += len(heads)
        # The children of a level are the stretches of rows that its spans own.
        low, high = np.searchsorted(owners, level, "left"), np.searchsorted(owners, level, "right")
        sizes = high - low
        offsets = np.repeat(low - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes) + np.arange(sizes.sum())
        level = rows[offsets]
    if not told:
        return pd.DataFrame(columns=COLUMNS)
    grouped = frame[path >= 0].groupby(path[path >= 0])
    found = pd.concat(told, ignore_index=True)
    found["service"] = np.asarray(services, dtype=object)[found.name // (len(operations) + 1)]
    found["operation"] = np.asarray(operations, dtype=object)[found.name % (len(operations) + 1)]
    found["count"] = grouped.size().to_numpy()
    found["total_s"], found["self_s"] = (grouped[c].sum().to_numpy() / 1e9 for c in ("duration_ns", "exclusive_ns"))
    found["errors"] = grouped.is_error.sum().to_numpy()
    return found[COLUMNS]


def _parents(frame: pd.DataFrame) -> np.ndarray:
    """Return the row of each span's parent, -1 without; a server that shares its client's id is its child."""
    frame = frame.assign(row=np.arange(len(frame)))
    server_first = frame.sort_values("kind", key=lambda kind: kind != _SERVER, kind="stable")
    by_id = server_first.drop_duplicates(["trace_id", "span_id"])[["trace_id", "span_id", "row"]]
    asked = frame[["trace_id", "parent_span_id"]].rename(columns={"parent_span_id": "span_id"})
    above: np.ndarray = asked.merge(by_id, "left", ["trace_id", "span_id"])["row"].fillna(-1).to_numpy(np.int64)
    clients = frame[frame.kind == _CLIENT].drop_duplicates(["trace_id", "span_id"])[["trace_id", "span_id", "row"]]
    twin = frame[["trace_id", "span_id"]].merge(clients, "left", ["trace_id", "span_id"])["row"].fillna(-1)
    shares = (frame.kind == _SERVER).to_numpy() & (twin >= 0).to_numpy()
    above = np.asarray(np.where(shares, twin.to_numpy(dtype=np.int64), above))
    above[above == np.arange(len(frame))] = -1
    return above
