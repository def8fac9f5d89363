"""Traces of a Zipkin (or what serves its API) for a window: ``/api/v2/traces``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..batch import Batch, Tally, concat
from ..otlp.batches import evened
from ..readers import zipkin_json
from ..window import Window
from .decoding import decoded, once, trace_ids
from .prometheus import Progress
from .server import Access, Server
from .splitting import split

LIMIT: Final = 500
_SHORTEST_NS: Final = 10**6


def fetch(
    url: str,
    window: Window,
    *,
    access: Access | None = None,
    limit: int = LIMIT,
    on_progress: Progress | None = None,
) -> Iterator[Batch]:
    """Yield the spans of every trace that began in ``window``; the traces are whole.

    ``url`` is the address up to, not including, ``/api``. A window with ``limit`` traces or more is halved, down to a
    millisecond; what lies beyond is counted as dropped. Raises SourceError as `jaeger.fetch` does.
    """
    told = on_progress or (lambda share: None)
    with Server(url, access or Access(), "Zipkin") as server:
        yield from evened(_traces(server, window, limit, told))


def _traces(server: Server, window: Window, limit: int, on_progress: Progress) -> Iterator[Batch]:
    seen: set[str] = set()
    for piece, batch, is_whole in split(window, _SHORTEST_NS, lambda one: _ask(server, one, limit), limit):
        tally = Tally()
        if not is_whole:
            tally.drop("traces beyond the limit", f"{server.base}: {piece}")
        if batch is not None:
            yield once(batch, seen)
        yield Batch(tally=tally)
        on_progress((piece.end_ns - window.start_ns) / window.duration_ns)


def _ask(server: Server, piece: Window, limit: int) -> tuple[Batch, int]:
    first_ms, last_ms = piece.start_ns // 10**6, (piece.end_ns - 1) // 10**6
    params = {"endTs": last_ms, "lookback": max(last_ms - first_ms, 1), "limit": limit}
    batch = concat(decoded(zipkin_json, server.base, server.read("/api/v2/traces", params)))
    return batch, len(trace_ids(batch))
