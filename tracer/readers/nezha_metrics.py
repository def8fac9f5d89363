"""The metrics of the Nezha recordings: a file a pod, the entry's ``front_service``, and P50s of the edges."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import DecodeError

from ..batch import Batch
from ..delimited import Rows, header_of, read_header, to_time_ns
from ..source import Source
from ..wide import Column, read_wide
from ..workload import deployment

NAME = "nezha-metrics"
_NOT_METRICS = {"Time", "TimeStamp", "PodName", "ServiceName", "time", "timestamp"}


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the pair of clocks; the edge files share theirs with wide CSV but write their time as Go prints it."""
    header = set(header_of(head))
    return {"Time", "TimeStamp"} <= header or ({"time", "timestamp"} <= header and b" UTC m=" in head)


def read(source: Source) -> Iterator[Batch]:
    """Yield the series of a pod, of the entry, or of the edges (``caller_callee``); empty cells are unknown.

    The clock is the column ``Time``: ``TimeStamp`` is off by 200,000,000 s in some files. Raises DecodeError
    without it.
    """
    head = source.head()
    header = read_header(source)
    clock = next((name for name in ("Time", "time") if name in header), None)
    if clock is None:
        raise DecodeError(source.name, "line 1", "expected a column Time or time")
    stem = source.file_name.split(".")[0]
    metrics = [name for name in header if name not in _NOT_METRICS]
    if clock == "time":
        edges = {name: name.partition("_") for name in metrics}
        columns = {
            name: Column(f"{stem}/{name}", stem, caller, peer=callee) for name, (caller, _, callee) in edges.items()
        }
    else:
        pod = _first_row(head, header).get("PodName") or None
        service = deployment(pa.array([pod], pa.string()))[0].as_py()
        columns = {name: Column(f"{stem}/{name}", name, service, pod) for name in metrics}
    yield from read_wide(source, header, lambda rows: _clock(rows, clock), columns)


def _first_row(head: bytes, header: list[str]) -> dict[str, str]:
    """Return the first row's cells; the pod stands in each row of its file."""
    lines = head.decode("utf-8", "replace").splitlines()[1:2]
    return dict(zip(header, next(csv.reader(lines), []), strict=False))


def _clock(rows: Rows, name: str) -> pa.Array:
    """Return the times, written like ``2022-08-22 03:51:19.607158889 +0000 UTC m=+0.113112869``."""
    return to_time_ns(pc.replace_substring_regex(rows.text(name), r" \+0000 UTC.*$", ""))
