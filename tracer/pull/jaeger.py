"""Traces of a Jaeger for a window: its stable API (``/api/v3``, OTLP) where it has one, else that of its UI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from ..batch import Batch, Tally, concat
from ..otlp.batches import evened
from ..readers import jaeger_json, trace_api_json
from ..window import Window, to_rfc3339
from .decoding import decoded, once, trace_ids
from .prometheus import Progress
from .server import Access, NotThere, Server
from .splitting import split

LIMIT: Final = 500
FINEST_NS: Final = 10**6


def fetch(
    url: str,
    window: Window,
    services: Sequence[str] = (),
    *,
    access: Access | None = None,
    limit: int = LIMIT,
    finest_ns: int = FINEST_NS,
    on_progress: Progress | None = None,
) -> Iterator[Batch]:
    """Yield the spans of every trace that has a span of one of ``services`` (none: all) in ``window``.

    Parameters
    ----------
    url
        The address of the query service up to, not including, ``/api``.
    window
        Traces are whole, so some spans lie outside.
    limit
        Traces of one answer; a window with more is halved.
    finest_ns
        Down to this, of which it holds multiples.
    on_progress
        Hears the share of the services that is done.

    Raises
    ------
    SourceError
        It cannot be reached, refuses, or is no Jaeger.

    Notes
    -----
    A trace is found by each of its services and kept once. What cannot be halved further is counted as dropped.
    """
    with Server(url, access or Access(), "Jaeger") as server:
        yield from evened(_traces(server, window, services, limit, finest_ns, on_progress or (lambda share: None)))


def _traces(
    server: Server, window: Window, services: Sequence[str], limit: int, finest_ns: int, on_progress: Progress
) -> Iterator[Batch]:
    is_v3, known = _services(server)
    asked = list(services) or known
    seen: set[str] = set()
    for number, service in enumerate(asked):
        ask = partial(_ask, server, is_v3, service, limit)
        for piece, batch, is_whole in split(window, finest_ns, ask, limit):
            tally = Tally()
            if not is_whole:
                tally.drop("traces beyond the limit", f"{server.base}: {service} in {piece}")
            if batch is not None:
                yield once(batch, seen)
            yield Batch(tally=tally)
        on_progress((number + 1) / len(asked))


def _services(server: Server) -> tuple[bool, list[str]]:
    """Return whether the server has the stable API, and its services."""
    is_v3 = True
    try:
        answer = server.json("/api/v3/services")
    except NotThere:
        is_v3, answer = False, server.json("/api/services")
    # An empty list is left out by one and null in the other.
    listed = (answer.get("services" if is_v3 else "data") or []) if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise NotThere(f"{server.base}: not a Jaeger: it lists no services; check the address")
    return is_v3, sorted(str(one) for one in listed)


def _ask(server: Server, is_v3: bool, service: str, limit: int, piece: Window) -> tuple[Batch, int]:
    params: dict[str, Any]
    if is_v3:
        params = {
            "query.service_name": service,
            "query.start_time_min": to_rfc3339(piece.start_ns),
            "query.start_time_max": to_rfc3339(piece.end_ns - 1),
            # The name of the bound has changed; what is unknown is ignored.
            "query.search_depth": limit,
            "query.num_traces": limit,
        }
        try:
            body = server.read("/api/v3/traces", params)
        except NotThere:  # so it says that nothing was found
            return Batch(), 0
        batch = concat(decoded(trace_api_json, server.base, body))
    else:
        # Microseconds, both ends included.
        params = {
            "service": service,
            "start": piece.start_ns // 1000,
            "end": (piece.end_ns - 1) // 1000,
            "limit": limit,
        }
        batch = concat(decoded(jaeger_json, server.base, server.read("/api/traces", params)))
    return batch, len(trace_ids(batch))
