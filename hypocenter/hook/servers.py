"""Servers asked at the time of an alert, all at once and only for as long as there is time; who is late is named."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from typing import Any, Final

from hypocenter.errors import HypocenterError, SourceError

from ..tracer.batch import Batch, concat
from ..tracer.window import MINUTE_NS, Window

# Traces are a sample over the whole window: of each piece of it at most so many, unless `limit` says otherwise.
_PIECE_NS: Final = 2 * MINUTE_NS
_TRACES: Final = {"jaeger": 20, "tempo": 60}
_MODULES: Final = {
    "prometheus": "hypocenter.tracer.pull.prometheus",
    "jaeger": "hypocenter.tracer.pull.jaeger",
    "tempo": "hypocenter.tracer.pull.tempo",
    "kubernetes": "kubernetes.client",
}
_AT_ONCE: Final = 4
_LOOK_S: Final = 0.05
_MUCH_S, _REST_S = 5.0, 60.0

_rests: dict[str, float] = {}  # by kind, until when it is not asked


class Asking:
    """Begins to ask ``servers`` (by kind, the sections of `hypocenter.hook.config.Config`) for the rows of a window.

    An answer counts when it is whole within ``budget_s``: of half an answer one could not tell what is missing because
    it broke from what had no time to come. Who had much time and did not answer is left alone for a minute.
    """

    def __init__(self, servers: Mapping[str, Any], window: Window, budget_s: float) -> None:
        self._budget_s = budget_s
        self._end = time.monotonic() + budget_s
        self._answers: queue.SimpleQueue[tuple[str, Batch | str]] = queue.SimpleQueue()
        now = time.monotonic()
        self._servers = {kind: section for kind, section in servers.items() if now >= _rests.get(kind, now)}
        self._missing = {kind: "did not answer a moment ago" for kind in servers if kind not in self._servers}
        for kind, section in self._servers.items():
            # A server that hangs must keep neither the answer nor the end of the process waiting.
            threading.Thread(target=self._ask, args=(kind, section, window), daemon=True).start()

    def result(self) -> tuple[Batch, list[str]]:
        """Return the rows that came in time, masked as a store would have them, and why the others did not."""
        late = dict.fromkeys(self._servers, f"no whole answer within {self._budget_s:.2g} s")
        batches = []
        for _ in self._servers:
            try:
                kind, answer = self._answers.get(timeout=max(self._end - time.monotonic(), 0.001))
            except queue.Empty:
                break
            if isinstance(answer, str):
                self._missing[kind] = answer
            else:
                batches.append(answer)
            del late[kind]
        if self._budget_s >= _MUCH_S:
            _rests.update(dict.fromkeys(late, time.monotonic() + _REST_S))
        return concat(batches), [f"{kind}: {why}" for kind, why in (late | self._missing).items()]

    def _ask(self, kind: str, section: Any, window: Window) -> None:
        try:
            rows = _kubernetes(section, self._end) if kind == "kubernetes" else self._pull(kind, section, window)
            answer: Batch | str = concat(rows)
        except HypocenterError as error:
            answer = str(error)
        except Exception as error:  # noqa: BLE001  whatever breaks in one server's answer, the others are heard
            answer = f"{type(error).__name__}: {error}"
        self._answers.put((kind, answer))

    def _pull(self, kind: str, section: Any, window: Window) -> Iterator[Batch]:
        from ..tracer.privacy import Privacy
        from ..tracer.pull import fetcher
        from ..tracer.pull.settings import Settings

        given = Settings.of(kind, section)
        timeout_s = min(given.access.timeout_s, self._budget_s)
        more = {"exemplars": False} if kind == "prometheus" else {"limit": _TRACES[kind]}
        settings = replace(given, access=replace(given.access, timeout_s=timeout_s), more=more | dict(given.more))
        fetch, _ = fetcher(settings)
        masks = Privacy()

        def rows(piece: Window) -> list[Batch]:
            found = []
            for batch in fetch(piece, **told):
                if time.monotonic() > self._end:  # nobody waits any more
                    break
                found.append(masks.apply(batch))
            return found

        told = {} if kind == "prometheus" else {"finest_ns": _PIECE_NS}
        pieces = [window] if kind == "prometheus" else list(_pieces(window))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for batches in pool.map(rows, pieces):
                yield from batches


def load(kinds: Iterable[str]) -> None:
    """Load what asking takes, which is slower than the first answers would be."""
    for kind in kinds:
        import_module(_MODULES[kind])


def _pieces(window: Window) -> Iterator[Window]:
    start_ns = window.start_ns
    while start_ns < window.end_ns:
        end_ns = min((start_ns // _PIECE_NS + 1) * _PIECE_NS, window.end_ns)
        yield Window(start_ns, end_ns)
        start_ns = end_ns


class _Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def put(self, batch: Batch, timeout_s: float | None = None) -> None:
        """Keep it."""
        self.batches.append(batch)


def _kubernetes(section: Mapping[str, Any], end: float) -> list[Batch]:
    """Return the objects and events that the API server lists now."""
    from ..tracer.kubernetes.collector import source

    lists, kept, stop = source(section), _Kept(), threading.Event()
    failed: list[str] = []

    def watch() -> None:
        while not lists.is_ready() and not failed and time.monotonic() < end:
            time.sleep(_LOOK_S)
            failed.extend(str(one.problem) for one in lists.watches if one.state == "retrying" and not one.lists)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    lists.run(kept, stop)
    if failed:
        raise SourceError(failed[0])
    return kept.batches
