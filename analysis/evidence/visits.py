"""The visits of an incident and of its quiet recording, coded once so that every kind of evidence counts in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.semconv import KIND_CONSUMER, KIND_SERVER

from ..onset import SECOND_NS, Split

STEP_NS = 5 * SECOND_NS
_SETTLE_NS = 5 * SECOND_NS  # traces cut at a recording's end look like vanished calls
_MAX_CELLS = 2 * 10**7
_MAX_DEPTH = 64
MANY_ORPHANS = 0.05  # share of visits without their parent from which on spans count as lost
# Enough to tell the callers of a call apart; longer chains break where a span is lost.
_ANCESTORS = 8
_ANCESTORS_CUT = 2  # where spans are lost, a longer way is whole in few visits


@dataclass(frozen=True)
class Clock:
    """Column 0 of a count is the quiet recording, column ``1 + i`` the i-th step of the incident's telemetry."""

    start_ns: int
    step_ns: int
    n_steps: int

    def columns(self, split: Split) -> tuple[slice, slice]:
        """Return the columns before and after the onset, without the quiet one."""
        low = int(np.clip(-((self.start_ns - split.start_ns) // self.step_ns), 0, self.n_steps))
        middle = int(np.clip(-((self.start_ns - split.onset_ns) // self.step_ns), 0, self.n_steps))
        high = int(np.clip(-((self.start_ns - split.end_ns) // self.step_ns), 0, self.n_steps))
        return slice(1 + low, 1 + middle), slice(1 + middle, 1 + high)

    def parts(self, sums: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (quiet, before, after) from the `running` sums of counts (n, 1 + n_steps), each of shape (n,)."""
        before, after = self.columns(split)
        return sums[:, 0], sums[:, before.stop] - sums[:, before.start], sums[:, after.stop] - sums[:, after.start]


def running(counts: np.ndarray) -> np.ndarray:
    """Return sums from which each of many splits is read at once: the quiet column, 0, then sums over the steps so far.

    From (n, 1 + n_steps) to (n, 2 + n_steps), a column's numbers side by side in memory.
    """
    sums = np.zeros((len(counts), counts.shape[1] + 1), order="F")
    sums[:, 0] = counts[:, 0]
    np.cumsum(counts[:, 1:], axis=1, out=sums[:, 2:])
    return sums


@dataclass(frozen=True)
class Visits:
    """Arrays of one entry a visit, quiet ones first; names are codes into ``services`` and ``operations``, -1 unknown.

    ``path`` identifies the operations of the visit and of the few above it; ``parent`` is the row of the parent
    visit, -1 for none; ``entry`` is the row at which the call chain entered the visit's service.
    """

    clock: Clock
    services: list[str]
    operations: list[str]
    pods: list[str]
    column: np.ndarray  # -1 outside of the clock
    service: np.ndarray
    operation: np.ndarray
    pod: np.ndarray
    peer: np.ndarray  # coded as a service
    parent: np.ndarray
    path: np.ndarray
    entry: np.ndarray
    kind: np.ndarray
    is_server: np.ndarray  # its instrumentation says so
    status: np.ndarray
    start_ns: np.ndarray
    duration_ns: np.ndarray
    exclusive_ns: np.ndarray
    crosses: np.ndarray  # its parent belongs to another service
    has_remote_child: np.ndarray
    has_server_child: np.ndarray
    n_quiet: int
    orphans: float  # share of the visits that name a parent span which is missing
    ids: pa.Table  # trace_id, span_id

    def __len__(self) -> int:
        return len(self.column)

    @property
    def enters(self) -> np.ndarray:
        """Whether each visit is the one at which its call chain entered the service."""
        return np.asarray(self.entry == np.arange(len(self)))

    def count(self, key: np.ndarray, n_keys: int, rows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return `running` counts (or sums of ``weights``) by key over ``rows``, shape (n_keys, 2 + n_steps)."""
        kept = rows & (self.column >= 0) & (key >= 0)
        width = 1 + self.clock.n_steps
        cell = key[kept] * width + self.column[kept]
        summed = np.bincount(cell, None if weights is None else weights[kept], n_keys * width)
        return running(summed.reshape(n_keys, width))


def keys_of(*codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (key by row, one row's index by key) that number the distinct combinations of ``codes``."""
    combined = np.zeros(len(codes[0]), "i8")
    for code in codes:
        # Dense again after each step, so that the product of sizes never overflows.
        _, combined = np.unique(combined * (int(code.max(initial=0)) + 2) + code + 1, return_inverse=True)
    _, first, key = np.unique(combined, return_index=True, return_inverse=True)
    return key, first


def quantile_by(values: np.ndarray, group: np.ndarray, n_groups: int, share: float) -> np.ndarray:
    """Return the lower quantile ``share`` of ``values`` by group, 0 for a group without any; shape (n_groups,)."""
    found = np.zeros(n_groups)
    ordered = values[np.lexsort((values, group))]
    n = np.bincount(group, minlength=n_groups)
    some = n > 0
    place = np.cumsum(n) - n + ((n - 1) * share).astype("i8")
    found[some] = ordered[place[some]]
    return found


def read_visits(quiet: pa.Table, incident: pa.Table, services: Sequence[str], alert_ns: int) -> Visits | None:
    """Return the coded visits of two `Links.visits` tables; None when the incident has none near the alert."""
    from ..onset import BASELINE_NS, EARLIEST_NS, INCIDENT_NS, LATEST_NS

    if not incident.num_rows:
        return None
    table = pa.concat_tables([quiet, incident])
    start = table["start_ns"].to_numpy()
    duration = table["duration_ns"].to_numpy()
    n_quiet = quiet.num_rows
    last = int((start[n_quiet:] + duration[n_quiet:]).max()) - _SETTLE_NS
    low = max(int(start[n_quiet:].min()), alert_ns - EARLIEST_NS - BASELINE_NS)
    high = min(last, alert_ns + LATEST_NS + INCIDENT_NS)
    if high <= low:
        return None
    names = list(services)
    service = _codes(table["service"], names)
    operations: list[str] = []
    operation = _codes(table["operation"], operations, grow=True)
    pods: list[str] = []
    step = STEP_NS
    while len(operations) * len(names) * (high - low) // step > _MAX_CELLS * 50 or (high - low) // step > 4000:
        step *= 2
    clock = Clock(low, step, int(-(-(high - low) // step)))
    column = np.where((start >= low) & (start < high), 1 + (start - low) // step, -1)
    column[:n_quiet] = 0
    parent = _parents(table)
    crosses = (parent >= 0) & (service != service[parent])
    inside = np.where((parent >= 0) & ~crosses, parent, np.arange(len(parent)))
    for _ in range(_MAX_DEPTH.bit_length()):  # doubles the distance each time
        inside = inside[inside]
    orphans = float(((parent < 0) & table["parent_span_id"].is_valid().to_numpy()).mean())
    ancestors = _ANCESTORS if orphans < MANY_ORPHANS else _ANCESTORS_CUT
    return Visits(
        clock=clock,
        services=names,
        operations=operations,
        pods=pods,
        column=column,
        service=service,
        operation=operation,
        pod=_codes(table["pod"], pods, grow=True),
        peer=_codes(table["peer"], names),
        parent=parent,
        entry=inside,
        path=_paths(parent, keys_of(service, operation)[0], ancestors),
        kind=table["kind"].to_numpy(),
        is_server=np.isin(table["given_kind"].to_numpy(), (KIND_SERVER, KIND_CONSUMER)),
        status=table["status"].to_numpy(),
        start_ns=start,
        duration_ns=duration.astype(float),
        exclusive_ns=table["exclusive_ns"].to_numpy().astype(float),
        crosses=crosses,
        has_remote_child=table["has_remote_child"].to_numpy(),
        has_server_child=table["has_server_child"].to_numpy(),
        n_quiet=n_quiet,
        orphans=orphans,
        ids=table.select(["trace_id", "span_id"]),
    )


def usual_callee(visits: Visits, context: np.ndarray) -> np.ndarray:
    """Return the service that answers the calls of each client operation most often, -1 if none was seen."""
    usual = np.full(int(context.max(initial=-1)) + 1, -1)
    child = np.flatnonzero(visits.crosses)
    if not len(child):
        return usual
    pair, first = keys_of(context[visits.parent[child]], visits.service[child])
    count = np.bincount(pair)
    order = np.argsort(count, kind="stable")
    usual[context[visits.parent[child[first[order]]]]] = visits.service[child[first[order]]]
    return usual


def _codes(column: pa.ChunkedArray, names: list[str], *, grow: bool = False) -> np.ndarray:
    """Return the index of each value in ``names``, -1 if absent; with ``grow`` new values are appended to it."""
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    if grow:
        known = set(names)
        names.extend(v for v in values if v is not None and v not in known)
    position = {name: i for i, name in enumerate(names)}
    lookup = np.array([*(position.get(v, -1) for v in values), -1], "i8")
    return np.asarray(lookup[pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)])


def _parents(table: pa.Table) -> np.ndarray:
    """Return the row of each visit's parent span, -1 for none."""
    n = table.num_rows
    names = pa.concat_arrays([c for name in ("span_id", "parent_span_id") for c in table[name].chunks])
    spans = names.dictionary_encode()
    code = pc.fill_null(spans.indices, -1).to_numpy(zero_copy_only=False).astype("i8")
    trace = table["trace_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype("i8")
    width = len(spans.dictionary) + 1
    own, wanted = trace * width + code[:n], trace * width + code[n:]
    order = np.argsort(own, kind="stable")
    place = np.minimum(np.searchsorted(own[order], wanted), n - 1)
    found = order[place]
    return np.where((code[n:] >= 0) & (own[found] == wanted) & (found != np.arange(n)), found, -1)


def _paths(parent: np.ndarray, step: np.ndarray, ancestors: int) -> np.ndarray:
    """Return a number per distinct chain of a visit's ``step`` and those of its nearest ``ancestors``."""
    mixed = step.astype("u8") * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
    path, above = mixed.copy(), parent.copy()
    for _ in range(ancestors):
        alive = above >= 0
        if not alive.any():
            break
        path[alive] = (path[alive] ^ (path[alive] >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) + mixed[
            above[alive]
        ]
        above[alive] = parent[above[alive]]
    return np.asarray(np.unique(path, return_inverse=True)[1])
