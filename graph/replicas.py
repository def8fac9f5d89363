"""Who the services are: replicas and versions as the spans of a window tell them, and graphs of finer nodes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import GraphError

from ..tracer.store import Store
from ..tracer.window import SECOND_NS, Window
from . import grouping
from .durations import Durations
from .operations import by_operation
from .rollup import Rollups, merge, roll_up, within
from .scan_calls import hours, of_links
from .slices import SLICE_SPANS, Read, added_up, roll_up_read

if TYPE_CHECKING:
    from .dependency_graph import DependencyGraph

IDENTITY: Final = ["service", "namespace", "version", "environment", "cluster", "pod", "instance", "node"]
INSTANCE_COLUMNS: Final = [
    *IDENTITY,
    *(
        "spans",
        "requests",
        "adjusted_requests",
        "rate_per_s",
        "errors",
        "error_ratio",
        "server_p50_s",
        "server_p95_s",
        "critical_share",
    ),
]
VERSION_COLUMNS: Final = ["service", "version", "first_ns", "last_ns", "requests", "adjusted_requests", "errors"]
# Column of spans that a service is told apart by.
_FINER: Final = {"pod": "pod", "version": "service_version", "environment": "environment", "cluster": "cluster"}
OPERATION: Final = "operation"
_ADJUSTED: Final = "adjusted_requests_milli"


def instances(graph: DependencyGraph) -> pd.DataFrame:
    """Return a row per replica (`INSTANCE_COLUMNS`), by service, then the busiest first.

    ``requests``, ``errors`` and durations are those of calls from elsewhere, as seen; ``adjusted_requests`` and
    ``rate_per_s`` undo sampling. None is what spans do not tell.
    """
    table = graph.rollups.instances
    group, keys = grouping.group({name: table.column(name) for name in IDENTITY})
    size = len(keys["service"])
    frame = pa.table(keys).to_pandas()
    for name, column in (("spans", "count"), ("requests", "requests"), ("errors", "errors")):
        frame[name] = np.bincount(group, table.column(column).to_numpy(), size).astype(np.int64)
    frame["adjusted_requests"] = grouping.sums(group, size, table.column(_ADJUSTED).to_numpy()).to_numpy() / 1000
    frame["rate_per_s"] = frame["adjusted_requests"] / (graph.duration_s or np.nan)
    frame["error_ratio"] = frame["errors"] / frame["requests"].replace(0, np.nan)
    durations = Durations.of(table.column("duration"), group, size)
    frame["server_p50_s"], frame["server_p95_s"] = durations.quantile(0.5), durations.quantile(0.95)
    critical_s = np.bincount(group, table.column("critical_ns").to_numpy(), size) / SECOND_NS
    frame["critical_share"] = critical_s / (graph.critical_s or np.nan)
    order = ["service", "requests", "pod", "instance", "version"]
    return frame.sort_values(order, ascending=[True, False, True, True, True], ignore_index=True)[INSTANCE_COLUMNS]


def versions(graph: DependencyGraph) -> pd.DataFrame:
    """Return a row per service and version that spans name (`VERSION_COLUMNS`), in order of appearance.

    ``first_ns`` and ``last_ns`` are the first and the last step of 10 s in which it was seen; ``requests`` and
    ``errors`` are as seen, ``adjusted_requests`` undo sampling.
    """
    names = ["service", "version", "time_ns", "requests", _ADJUSTED, "errors"]
    frame = graph.rollups.instances.select(names).to_pandas().dropna(subset=["version"])
    grouped = frame.groupby(["service", "version"], as_index=False)
    found = grouped.agg(
        first_ns=("time_ns", "min"),
        last_ns=("time_ns", "max"),
        requests=("requests", "sum"),
        adjusted_requests=(_ADJUSTED, "sum"),
        errors=("errors", "sum"),
    )
    found["adjusted_requests"] /= 1000
    return found.sort_values(["service", "first_ns", "version"], ignore_index=True)[VERSION_COLUMNS]


def rollout_ns(graph: DependencyGraph, service: str) -> int:
    """Return when the last version of a service was first seen, to 10 s.

    Raises
    ------
    GraphError
        If spans name no second version of it in the window.
    """
    found = versions(graph)
    own = found[found["service"] == service]
    begun = own[own["first_ns"] > own["first_ns"].min()]
    if begun.empty:
        known = ", ".join(f"{row.service} {row.version}" for row in found.head(10).itertuples()) or "no version at all"
        raise GraphError(
            f"no version of {service!r} appeared in {graph.window}; its spans (service.version) name {known}"
        )
    return int(begun["first_ns"].max())


def read_finer(store: Store, window: Window, by: str, *, slice_spans: int = SLICE_SPANS) -> Rollups:
    """Return rollups whose services are told apart by ``pod``, ``version``, ``environment``, ``cluster`` or operation.

    A pod is named by itself, else a service is named ``service@value``; where the value is unknown it keeps its name.
    By ``operation`` it is ``service operation``, the operation being that which took up the request.
    Linked on demand, hour by hour in slices: the cost is that of linking the window.
    """
    if by not in (*_FINER, OPERATION):
        raise GraphError(f"services are told apart by {', '.join(_FINER)}, {OPERATION}, not {by!r}")
    parts = []
    for part, read in hours(store, window):
        if by == OPERATION:
            slices = of_links(read, lambda links: roll_up(by_operation(links)), slice_spans, fold_operations=True)
            whole = added_up(slices)
        else:
            whole = roll_up_read(partial(_finer, read, by), slice_spans)
        parts.append(within(whole, part))
    return merge(parts)


def _finer(read: Read, by: str) -> Iterator[pa.RecordBatch]:
    for spans in read():
        value, service = (spans.column(name).cast(pa.string()) for name in (_FINER[by], "service"))
        name = pc.coalesce(value, service) if by == "pod" else _suffixed(service, value)
        yield spans.set_column(spans.schema.get_field_index("service"), "service", name)


def _suffixed(service: pa.Array, value: pa.Array) -> pa.Array:
    group, keys = grouping.group({"service": service, "value": value})
    pairs = zip(keys["service"].to_pylist(), keys["value"].to_pylist(), strict=True)
    # Who is told apart anyhow says it already.
    names = [s if s is None or v is None or v in s.split("@")[1:] else f"{s}@{v}" for s, v in pairs]
    return pa.array(names, pa.string()).take(pa.array(group))
