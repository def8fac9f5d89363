"""One group of requests into one durable segment a signal: decode, mask, write."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import DecodeError, SourceError

from ..batch import Batch, concat
from ..otlp.decode import JSON, PROTOBUF, decode, decode_group
from ..privacy import Privacy
from ..readers import zipkin_json
from ..schema import TIME_COLUMN
from ..source import Source, decompressed
from ..window import HOUR_NS, SECOND_NS
from .request import ZIPKIN, Accepted, Refused, Request, Work

# A clock may be off by hours and still tell something; a span of 2100 or 1970 would stretch every window of the store.
MAX_AHEAD_NS = 24 * HOUR_NS
_YEAR_2000_NS = 946_684_800 * SECOND_NS
WRONG_CLOCK = "wrong clock: time before 2000 or more than a day ahead"
_SOURCE = "otlp"
# The shortest attribute has an object in 17 bytes; bare {} by the million would unfold to gigabytes of spans.
# In protobuf the fields 1 and 2 of no bytes (0x0a00, 0x1200) are resources, scopes and spans of nothing.
_BYTES_PER_OBJECT, _OBJECTS = 8, 1000
_OPENED = {JSON: ((b"{",), ord("{")), PROTOBUF: ((b"\x0a\0", b"\x12\0"), 0)}  # and the last byte of each


class Appender(Protocol):
    """The part of `hypocenter.tracer.store.Store` that writes."""

    def append(self, batch: Batch, *, arrived_ns: int | None = None) -> object:
        """Return when the rows are durable; raises SourceError."""
        ...


@dataclass
class Committer:
    """Makes groups of requests durable; one a process."""

    store: Appender
    privacy: Privacy

    def commit(self, group: Sequence[Request]) -> tuple[list[Accepted | Exception], Work]:
        """Return the outcome of each request, durable if Accepted, and what was done.

        A request that cannot be decoded is Refused and does not harm the others; when the store cannot take the rows
        all others get its SourceError.
        """
        work = Work()
        with _Clock(work, "decode"):
            outcomes, batches = _decoded(group)
        with _Clock(work, "mask"):
            batch = self.prepared(batches, work)
        error = self.append(batch, work)
        if error is not None:
            outcomes = [error if isinstance(outcome, Accepted) else outcome for outcome in outcomes]
        return outcomes, work

    def prepared(self, batches: Iterable[Batch], work: Work) -> Batch:
        """Return the rows of batches as they may be stored: what privacy hides is hidden."""
        batch = self.privacy.apply(concat(batches))
        work.rejected, work.repaired = dict(batch.tally.dropped), dict(batch.tally.repaired)
        return batch

    def append(self, batch: Batch, work: Work) -> SourceError | None:
        """Store the rows; return the error if that cannot be."""
        now = time.time_ns()
        with _Clock(work, "store"):
            try:
                if batch.rows:
                    self.store.append(batch, arrived_ns=now)
            except SourceError as error:
                return error
        work.stored = {signal: table.num_rows for signal, table in batch.tables.items()}
        spans = batch.tables.get("spans")
        if spans is not None and spans.num_rows:
            newest = pc.max(pc.add(spans.column("start_ns"), spans.column("duration_ns"))).as_py()
            work.lag_s = max(0.0, (time.time_ns() - newest) / SECOND_NS)
        return None


def with_sane_clocks(batch: Batch, now_ns: int) -> Batch:
    """Return the batch without the rows whose time cannot be; they are counted as dropped."""
    tables = {}
    for signal, table in batch.tables.items():
        if signal in TIME_COLUMN and table.num_rows:
            times = table.column(TIME_COLUMN[signal])
            bounds = pc.call_function("min_max", [times]).as_py()
            if bounds["min"] < _YEAR_2000_NS or bounds["max"] > now_ns + MAX_AHEAD_NS:
                limit = pa.scalar(now_ns + MAX_AHEAD_NS, pa.int64())
                sane = pc.and_(pc.greater_equal(times, _YEAR_2000_NS), pc.less_equal(times, limit))
                kept = table.filter(sane)
                batch.tally.drop(WRONG_CLOCK, signal, table.num_rows - kept.num_rows)
                table = kept
        tables[signal] = table
    return Batch(tables, batch.tally)


def _decoded(group: Sequence[Request]) -> tuple[list[Accepted | Exception], list[Batch]]:
    """Return the outcome of each request as far as decoding goes, and the rows of the accepted ones.

    Requests of one kind and encoding are decoded in one call, which costs small ones much less; only when something
    is wrong in the group is each decoded alone, so that every sender hears what concerns it.
    """
    outcomes: list[Accepted | Exception] = [Accepted()] * len(group)
    batches: list[Batch] = []
    alone = []
    alike: dict[tuple[str, str], list[int]] = {}
    for place, request in enumerate(group):
        if request.kind != ZIPKIN and request.content_type in (PROTOBUF, JSON) and not _unfolds(request):
            alike.setdefault((request.kind, request.content_type), []).append(place)
        else:
            alone.append(place)
    for (kind, content_type), places in alike.items():
        try:
            payloads = [group[place].payload for place in places]
            batch = with_sane_clocks(decode_group(kind, payloads, content_type, _SOURCE), time.time_ns())
        except DecodeError:
            batch = None
        if batch is None or (batch.tally.dropped and len(places) > 1):
            alone += places
        else:
            batches.append(batch)
            outcomes[places[0]] = _outcome(batch)
    for place in alone:
        try:
            batch = with_sane_clocks(_decode_one(group[place]), time.time_ns())
        except DecodeError as error:
            outcomes[place] = Refused(f"{error.place}: {error.reason}")
        else:
            batches.append(batch)
            outcomes[place] = _outcome(batch)
    return outcomes, batches


def _decode_one(request: Request) -> Batch:
    if _unfolds(request):
        most, size = _most_objects(request), len(request.payload)
        raise DecodeError(_SOURCE, "request", f"more than {most} objects in {size} bytes")
    if request.kind == ZIPKIN:
        return concat(zipkin_json.read(Source(ZIPKIN, decompressed(io.BytesIO(request.payload)))))
    return decode(request.kind, request.payload, request.content_type, _SOURCE)


def _unfolds(request: Request) -> bool:
    """Tell whether a request holds so many objects for its size that they are empty."""
    most = _most_objects(request)
    opened, last = _OPENED.get(request.content_type, ((), None))
    # Their last bytes are far fewer than that in any usual request, and counted ten times faster than pairs of bytes.
    if last is None or np.count_nonzero(np.frombuffer(request.payload, "u1") == last) <= most:
        return False
    return sum(map(request.payload.count, opened)) > most


def _most_objects(request: Request) -> int:
    return _OBJECTS + len(request.payload) // _BYTES_PER_OBJECT


def _outcome(batch: Batch) -> Accepted:
    dropped = batch.tally.dropped
    reasons = "; ".join(f"{count} x {reason}" for reason, count in sorted(dropped.items()))
    return Accepted(dropped.total(), reasons)


class _Clock:
    """Notes the seconds that a step took."""

    def __init__(self, work: Work, step: str) -> None:
        self._work, self._step = work, step

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        self._work.seconds[self._step] = time.perf_counter() - self._begun
