"""Upkeep of the store in the background, in a process of its own: compaction, retention, rollups kept warm."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import orjson

from hypocenter.errors import HypocenterError

from ..store import Store
from ..store.compact import compact
from ..store.prune import prune, prune_to_size
from ..window import HOUR_NS
from .lease import Lease

_processes = multiprocessing.get_context("spawn")
Refresh = Callable[[Store], None]


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How often, and what is kept: ``None`` is everything. The lease lasts three rounds."""

    every_s: float = 30.0
    keep_hours: float | None = None
    keep_bytes: int | None = None
    rollups: bool = True


class UpkeepProcess:
    """The process seen from outside."""

    def __init__(self, path: Path, settings: Upkeep, refresh: Refresh | None, told: Callable[[str], None]) -> None:
        self._pipe, inner = _processes.Pipe()
        self._process = _processes.Process(target=run, args=(inner, path, settings, refresh), daemon=True)
        self._process.start()
        inner.close()
        self._told = told

    def look(self) -> None:
        """Pass on the outcomes of the rounds since the last look."""
        try:
            while self._pipe.poll():
                self._told(orjson.loads(self._pipe.recv_bytes())["outcome"])
        except (EOFError, OSError):
            self._told("died")

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def stop(self) -> None:
        """End it; what it was at is atomic."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def run(pipe: Connection, path: Path, settings: Upkeep, refresh: Refresh | None) -> None:
    """Do a round every ``every_s`` until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(10)
    lease = Lease(path / "upkeep.lease", 3 * settings.every_s)
    wait_s = min(1.0, settings.every_s)
    while True:
        try:
            if pipe.poll(wait_s):
                pipe.recv_bytes()
        except (EOFError, OSError):
            lease.give_up()
            return
        wait_s = settings.every_s
        try:
            pipe.send_bytes(orjson.dumps({"outcome": one_round(Store(path), settings, lease, refresh)}))
        except OSError:
            return


def one_round(store: Store, settings: Upkeep, lease: Lease, refresh: Refresh | None) -> str:
    """Do what is due; return ``done``, ``elsewhere`` (another collector does it) or ``failed``."""
    try:
        if not lease.hold():
            return "elsewhere"
        compact(store, live=True)
        if settings.keep_hours is not None:
            prune(store, time.time_ns() - round(settings.keep_hours * HOUR_NS))
        if settings.keep_bytes is not None:
            prune_to_size(store, settings.keep_bytes)
        if settings.rollups and refresh is not None:
            refresh(store)
    except (HypocenterError, OSError):
        return "failed"
    return "done"
