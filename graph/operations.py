"""Operations: which of a service are told apart, since names with ids would be as many as the spans; their table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.window import SECOND_NS
from . import grouping
from .durations import Durations

if TYPE_CHECKING:
    from .dependency_graph import DependencyGraph
    from .link import Links

OPERATIONS_PER_SERVICE = 200
OTHER = "_other"
OPERATION_COLUMNS: Final = [
    *("service", "operation", "kind", "count", "adjusted_count", "rate_per_s", "errors", "error_ratio"),
    *("p50_s", "p95_s", "exclusive_p50_s", "exclusive_p95_s", "critical_s", "critical_share"),
]
_KINDS: Final = ["unspecified", "internal", "server", "client", "producer", "consumer"]
_SUMS: Final = ("count", "adjusted_milli", "errors", "critical_ns")


def kept_operations(named: pa.Table) -> np.ndarray:
    """Tell which rows (``service``, ``operation``, ``spans``) keep their name: those with the most spans of a service.

    Operations with as many spans are kept in the order of their names; `OTHER` takes no place.
    """
    frame = named.select(["service", "operation", "spans"]).to_pandas()
    spans = frame.groupby(["service", "operation"], as_index=False)["spans"].sum()
    ranked = spans[spans["operation"] != OTHER].sort_values(["spans", "operation"], ascending=[False, True])
    ranked = ranked[ranked.groupby("service").cumcount() < OPERATIONS_PER_SERVICE]
    kept = pd.MultiIndex.from_frame(ranked[["service", "operation"]])
    found: np.ndarray = pd.MultiIndex.from_frame(frame[["service", "operation"]]).isin(kept)
    found |= frame["operation"].to_numpy() == OTHER
    return found


def by_operation(links: Links) -> Links:
    """Return the links between operations: each service is named ``service operation``, by what took up the request.

    Operations that are not told apart are `OTHER` already (`hypocenter.graph.rules.Rules.of` folds them).
    """
    visits, calls, unlinked = links.visits, links.calls, links.unlinked
    for end, operation in (("caller", "caller_operation"), ("callee", "operation")):
        is_service = pc.equal(calls[f"{end}_kind"], "service")
        calls = _with(calls, end, pc.if_else(is_service, _joined(calls[end], calls[operation]), calls[end]))
    visits = _with(visits, "service", _joined(visits["service"], visits["request_operation"]))
    unlinked = _with(unlinked, "service", _joined(unlinked["service"], unlinked["request_operation"]))
    return replace(links, calls=calls, visits=visits, unlinked=unlinked)


def _joined(service: pa.ChunkedArray, operation: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(service, operation, " ")


def _with(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def operations(graph: DependencyGraph) -> pd.DataFrame:
    """Return a row per service, operation and kind of span (`OPERATION_COLUMNS`), the longest on critical paths first.

    The exclusive time is what no child covers. ``critical_s`` is the time of its own on critical paths, of which the
    shares add up to 1.
    """
    table = graph.rollups.operations
    group, keys = grouping.group({name: table.column(name) for name in ("service", "operation", "kind")})
    size = len(keys["service"])
    frame = pa.table(keys).to_pandas()
    frame["kind"] = [_KINDS[kind] for kind in frame["kind"]]
    total = {name: grouping.sums(group, size, table.column(name).to_numpy()).to_numpy() for name in _SUMS}
    frame["count"], frame["errors"] = total["count"], total["errors"]
    frame["adjusted_count"] = total["adjusted_milli"] / 1000
    frame["rate_per_s"] = frame["adjusted_count"] / (graph.duration_s or np.nan)
    frame["error_ratio"] = frame["errors"] / frame["count"]
    for name, column in (("", "duration"), ("exclusive_", "exclusive")):
        durations = Durations.of(table.column(column), group, size)
        frame[f"{name}p50_s"], frame[f"{name}p95_s"] = durations.quantile(0.5), durations.quantile(0.95)
    frame["critical_s"] = total["critical_ns"] / SECOND_NS
    frame["critical_share"] = frame["critical_s"] / (graph.critical_s or np.nan)
    order = ["critical_s", "service", "operation", "kind"]
    return frame.sort_values(order, ascending=[False, True, True, True], ignore_index=True)[OPERATION_COLUMNS]
