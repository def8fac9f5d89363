"""Messages that wait: a queue grows because its consumer does not keep up, so its metrics speak of the consumer."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

# What brokers' exporters call the messages that are not taken yet, and the label that names where they wait.
_WAITING = (
    r"(?i)(?:queue|topic|messages|consumer|group).*(?:ready|unacked|pending|waiting|depth|length|size|lag)|backlog"
)
_LABELS = ("queue", "topic", "destination", "messaging_destination_name")


def of_consumers(series: pa.Table, calls: pa.Table) -> pa.Table:
    """Return the series with those of waiting messages given to the service that takes them.

    Parameters
    ----------
    series
        Rows of `hypocenter.tracer.schema.SERIES`.
    calls
        Calls (`hypocenter.graph.link.Links.calls`), which tell the consumer of each destination; where several services
        take from one, or none is known, the series stays with its broker.
    """
    consumer = _consumers(calls)
    waiting = pc.match_substring_regex(series["name"], _WAITING)
    if not consumer or not pc.any(waiting).as_py():
        return series
    taken_by = [
        consumer.get(_destination(attributes)) if is_waiting else None
        for is_waiting, attributes in zip(waiting.to_pylist(), series["attributes"].to_pylist(), strict=True)
    ]
    new = pa.array(taken_by, pa.string())
    kept = series
    for name, value in (("service", new), ("pod", pa.nulls(len(new), pa.string()))):
        at = series.column_names.index(name)
        column = pc.if_else(pc.is_valid(new), value, pc.cast(series[name], pa.string()))
        kept = kept.set_column(at, series.schema.field(name), pc.cast(column, series.schema.field(name).type))
    return kept


def _consumers(calls: pa.Table) -> dict[str, str]:
    pairs = calls.filter(pc.equal(calls["caller_kind"], "messaging")).group_by(["caller", "callee"]).aggregate([])
    found: dict[str, set[str]] = {}
    for caller, callee in zip(pairs["caller"].to_pylist(), pairs["callee"].to_pylist(), strict=True):
        found.setdefault(caller, set()).add(callee)
    return {caller: next(iter(callees)) for caller, callees in found.items() if len(callees) == 1}


def _destination(attributes: list[tuple[str, str]] | None) -> str:
    labels = {key.replace(".", "_"): value for key, value in attributes or ()}
    return next((labels[label].strip('"') for label in _LABELS if labels.get(label)), "")
