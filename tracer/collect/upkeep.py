"""Upkeep of the store in the background, in a process of its own: compaction, retention, what is derived kept fresh."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection

import orjson

from hypocenter.errors import HypocenterError

from ..memory import MIB, give_back, keep_for_reuse
from ..store import Store
from ..store.compact import compact
from ..store.places import is_remote, path_of
from ..store.prune import prune, prune_to_size
from ..store.remote import RemoteStore, store_at
from ..store.remote_compact import compact_hours
from ..window import HOUR_NS
from .lease import Lease

_log = logging.getLogger(__name__)
_processes = multiprocessing.get_context("spawn")
_EXIT_S = 10.0
# Within a round; after it all is given back.
_REUSED_BYTES = 256 * MIB
# Brings what is derived from the store up to date; returns what ``/metrics`` shows of it as OpenMetrics, or None.
Refresh = Callable[[Store], str | None]


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How often, what is kept (``None`` is everything), what is derived. The lease lasts three rounds."""

    every_s: float = 30.0
    keep_hours: float | None = None
    keep_bytes: int | None = None
    rollups: bool = True
    span_metrics: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """What a round came to: ``done``, ``elsewhere`` (another collector does it), ``failed`` or ``died``."""

    outcome: str
    error: str | None = None
    metrics: str | None = None


class UpkeepProcess:
    """The process seen from outside; one that died is started again after a round's time."""

    def __init__(self, path: str, settings: Upkeep, refresh: Refresh | None, told: Callable[[str], None]) -> None:
        self._arguments, self._every_s, self._told = (path, settings, refresh), settings.every_s, told
        self.last = Round("starting")
        self._silent_at: float | None = None
        self._died_at: float | None = None
        self._start()

    def look(self) -> None:
        """Take note of the rounds since the last look, and start the process again if it died; does not wait."""
        now = time.monotonic()
        if self._died_at is not None:
            if now - self._died_at > self._every_s:
                self._died_at = None
                self._start()
            return
        if self._silent_at is None:
            try:
                while self._pipe.poll():
                    self._note(Round(**orjson.loads(self._pipe.recv_bytes())))
                return
            except (EOFError, OSError):
                self._silent_at = now
        # Its pipe closes some time before a dying process is gone, and with what it ended is worth knowing.
        if self._process.exitcode is None and now - self._silent_at < _EXIT_S:
            return
        self._silent_at, self._died_at = None, now
        self._end(0)
        self._note(Round("died", f"the process ended with {self._process.exitcode}"))

    def stop(self) -> None:
        """End it; what it was at is atomic."""
        self._end(_EXIT_S)

    def _start(self) -> None:
        self._pipe, inner = _processes.Pipe()
        self._process = _processes.Process(target=run, args=(inner, *self._arguments), daemon=True)
        self._process.start()
        inner.close()

    def _end(self, timeout_s: float) -> None:
        self._pipe.close()
        self._process.join(timeout_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _note(self, found: Round) -> None:
        if found.error is not None and found.error != self.last.error:
            _log.warning("upkeep %s: %s", found.outcome, found.error)
        self.last = found
        self._told(found.outcome)


def run(pipe: Connection, path: str, settings: Upkeep, refresh: Refresh | None) -> None:
    """Do a round every ``every_s`` until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(10)
    keep_for_reuse(_REUSED_BYTES)
    # On object storage nothing is done that two may not do at once.
    lease = None if is_remote(path) else Lease(path_of(path) / "upkeep.lease", 3 * settings.every_s)
    wait_s = min(1.0, settings.every_s)
    while True:
        try:
            if pipe.poll(wait_s):
                pipe.recv_bytes()
        except (EOFError, OSError):
            if lease is not None:
                lease.give_up()
            return
        wait_s = settings.every_s
        try:
            pipe.send_bytes(orjson.dumps(asdict(one_round(store_at(path), settings, lease, refresh))))
        except OSError:
            return
        give_back()


def one_round(store: Store, settings: Upkeep, lease: Lease | None, refresh: Refresh | None) -> Round:
    """Do what is due; a step that fails does not keep the others from being done."""
    # Retention comes first: on a full disk it makes the room that the others need.
    steps: list[Callable[[], object]] = []
    if settings.keep_hours is not None:
        steps.append(partial(prune, store, time.time_ns() - round(settings.keep_hours * HOUR_NS)))
    if settings.keep_bytes is not None:
        steps.append(partial(prune_to_size, store, settings.keep_bytes))
    if isinstance(store, RemoteStore):
        steps.append(partial(compact_hours, store))
    else:
        steps.append(partial(compact, store, live=True))
    metrics: str | None = None
    errors = []
    try:
        if lease is not None and not lease.hold():
            return Round("elsewhere")
        for step in steps:
            try:
                step()
            except HypocenterError as error:
                errors.append(str(error))
        if refresh is not None:
            metrics = refresh(store)
    except (HypocenterError, OSError) as error:
        errors.append(str(error))
    return Round("failed", "; ".join(errors), metrics) if errors else Round("done", None, metrics)
