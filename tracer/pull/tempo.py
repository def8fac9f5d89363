"""Traces of a Tempo for a window: a search by TraceQL, then each trace that it found, several at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from hypocenter.errors import SourceError

from ..batch import Batch, Tally, concat
from ..otlp.batches import evened
from ..readers import trace_api_json
from ..window import SECOND_NS, Window
from .decoding import decoded
from .prometheus import Progress
from .server import Access, NotThere, Server, TooMuch
from .splitting import split

LIMIT: Final = 1_000
_AT_ONCE: Final = 4
_GROUP: Final = 200


def fetch(
    url: str,
    window: Window,
    query: str = "{}",
    *,
    access: Access | None = None,
    limit: int = LIMIT,
    finest_ns: int = SECOND_NS,
    on_progress: Progress | None = None,
) -> Iterator[Batch]:
    """Yield the spans of every trace that ``query`` (TraceQL; ``{}``: all) finds in ``window``; the traces are whole.

    Parameters
    ----------
    url
        The address up to, not including, ``/api``; behind Grafana that of the data source's proxy.
    limit
        Traces of one search; a window with more is halved.
    finest_ns
        Down to this, a multiple of a second.
    on_progress
        Hears the share of the window that is done.

    Raises
    ------
    SourceError
        It cannot be reached, refuses, or is no Tempo.

    Notes
    -----
    A trace that is gone by the time it is asked for, or too large, and what a search cannot tell within a second, are
    counted as dropped.
    """
    told = on_progress or (lambda share: None)
    with Server(url, access or Access(), "Tempo") as server, ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from evened(_traces(server, pool, window, query, limit, finest_ns, told))


def _traces(
    server: Server,
    pool: ThreadPoolExecutor,
    window: Window,
    query: str,
    limit: int,
    finest_ns: int,
    on_progress: Progress,
) -> Iterator[Batch]:
    seen: set[str] = set()
    for piece, ids, is_whole in split(window, finest_ns, lambda one: _search(server, query, one, limit), limit):
        tally = Tally()
        if not is_whole:
            tally.drop("traces beyond the limit", f"{server.base}: {piece}")
        yield Batch(tally=tally)
        new = [one for one in ids or [] if one not in seen]
        seen.update(new)
        for start in range(0, len(new), _GROUP):
            yield from pool.map(partial(_trace, server, piece), new[start : start + _GROUP])
        on_progress((piece.end_ns - window.start_ns) / window.duration_ns)


def _search(server: Server, query: str, piece: Window, limit: int) -> tuple[list[str], int]:
    # Whole seconds; the end is not included.
    first, end = piece.start_ns // SECOND_NS, -(-piece.end_ns // SECOND_NS)
    answer = server.json("/api/search", {"q": query, "start": first, "end": end, "limit": limit, "spss": 1})
    if not isinstance(answer, dict) or not ({"traces", "metrics"} & set(answer) or not answer):
        raise SourceError(f"{server.base}: not a Tempo: its search answers without traces; check the address")
    found: list[Any] = answer.get("traces") or []
    ids = [str(one["traceID"]).rjust(32, "0") for one in found if isinstance(one, dict) and one.get("traceID")]
    return list(dict.fromkeys(ids)), len(found)


def _trace(server: Server, piece: Window, trace_id: str) -> Batch:
    # Without a time Tempo looks through all of its blocks; a trace may be longer than its piece.
    params = {"start": piece.start_ns // SECOND_NS - 3600, "end": piece.end_ns // SECOND_NS + 3600}
    tally = Tally()
    try:
        try:
            body = server.read(f"/api/v2/traces/{trace_id}", params)
        except NotThere:  # before 2.7
            body = server.read(f"/api/traces/{trace_id}", params)
    except NotThere:
        tally.drop("trace gone since the search", f"{server.base}: {trace_id}")
        return Batch(tally=tally)
    except TooMuch:
        tally.drop("trace too large", f"{server.base}: {trace_id}")
        return Batch(tally=tally)
    return concat([*decoded(trace_api_json, server.base, body), Batch(tally=tally)])
