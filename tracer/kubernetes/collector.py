"""The source of Kubernetes objects and events: a watch a kind, their rows written together."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from hypocenter.errors import HypocenterError, SourceError

from ..batch import Tally
from ..collect.source import Health, Sink
from ..privacy import Privacy
from .api import Api
from .kinds import BY_NAME, CLUSTER_WIDE, KINDS, Kind
from .rows import to_batch
from .watch import Row, Watch

_log = logging.getLogger(__name__)
# A watch waits when so many rows are not written yet; the server keeps what it has not read.
_HELD_ROWS: Final = 10_000
_BATCH_ROWS: Final = 2_000
_GATHER_S: Final = 0.2
_OPTIONS: Final = ("kubeconfig", "context", "namespaces", "kinds")


@dataclass
class Kubernetes:
    """Lists and watches ``kinds`` in ``namespaces`` (None: all); one instance runs once.

    Objects of kinds that may not be read are counted as denied, and the rest goes on.
    """

    api: Api
    kinds: Sequence[Kind] = KINDS
    namespaces: Sequence[str] | None = None
    privacy: Privacy = field(default_factory=Privacy)
    name: str = "kubernetes"
    tally: Tally = field(default_factory=Tally)
    watches: list[Watch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rows: queue.Queue[tuple[Literal["objects", "events"], Row]] = queue.Queue(_HELD_ROWS)
        self._stop = threading.Event()
        for kind in self.kinds:
            for namespace in self._namespaces_of(kind):
                self.watches.append(Watch(kind, self.api, self._emit, self.api.host, namespace))

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Watch until ``stop`` is set; what was received by then is written.

        Raises
        ------
        SourceError
            The sink refused rows for good.
        """
        threads = [
            threading.Thread(target=watch.run, args=(self._stop,), name=f"kubernetes-{watch.kind.plural}", daemon=True)
            for watch in self.watches
        ]
        for thread in threads:
            thread.start()
        try:
            while not stop.is_set():
                self._write(sink, self._gathered(stop), stop)
        finally:
            self._stop.set()
            for watch in self.watches:
                watch.opened.close()
            for thread in threads:
                self._write_rest(sink, thread, stop)

    def health(self) -> Health:
        """Return what hinders a watch, how often one broke off, and the states of all."""
        hindered = [watch for watch in self.watches if watch.state in ("denied", "retrying")]
        problem = f"{hindered[0].kind.plural}: {hindered[0].problem}" if hindered else None
        return Health(problem, sum(watch.restarts for watch in self.watches), {"watches": self.states()})

    def states(self) -> dict[str, str]:
        """Return, by kind, how its watch does: its state, and the reason when it is not ``watching``."""
        return {
            watch.kind.plural + (f" in {watch.namespace}" if watch.namespace else ""): watch.state
            if watch.problem is None
            else f"{watch.state}: {watch.problem}"
            for watch in self.watches
        }

    def is_ready(self) -> bool:
        """Tell whether every kind was listed, or cannot be."""
        return all(watch.lists or watch.state in ("denied", "not installed") for watch in self.watches)

    def _namespaces_of(self, kind: Kind) -> Sequence[str | None]:
        return [None] if self.namespaces is None or kind.name in CLUSTER_WIDE else self.namespaces

    def _emit(self, signal: Literal["objects", "events"], row: Row) -> None:
        while not self._stop.is_set():
            try:
                self._rows.put((signal, row), timeout=1.0)
                return
            except queue.Full:
                continue

    def _gathered(self, stop: threading.Event) -> dict[str, list[Row]]:
        """Return the rows of a moment: a burst of changes becomes one segment, not hundreds."""
        rows: dict[str, list[Row]] = {"objects": [], "events": []}
        until: float | None = None
        for _ in range(_BATCH_ROWS):
            try:
                wait_s = 0.5 if until is None else until - time.monotonic()
                signal, row = self._rows.get(timeout=max(wait_s, 0.0)) if wait_s > 0 else self._rows.get_nowait()
            except queue.Empty:
                break
            rows[signal].append(row)
            until = until or time.monotonic() + _GATHER_S
            if stop.is_set():
                break
        return rows

    def _write(self, sink: Sink, rows: Mapping[str, list[Row]], stop: threading.Event) -> None:
        batch = self.privacy.apply(to_batch(rows["objects"], rows["events"]))
        wait_s = 0.1
        while batch.rows:
            try:
                sink.put(batch)
                self.tally.add(batch.tally)
                return
            except HypocenterError as error:
                if not getattr(error, "retryable", True):
                    raise
                if stop.is_set():
                    self.tally.drop("not written before the end", self.name, batch.rows)
                    return
                _log.warning("%s: %s; trying again", self.name, error)
                stop.wait(wait_s)
                wait_s = min(2 * wait_s, 10.0)

    def _write_rest(self, sink: Sink, thread: threading.Thread, stop: threading.Event) -> None:
        thread.join(timeout=5.0)
        while not self._rows.empty():
            self._write(sink, self._gathered(stop), stop)


def source(config: Mapping[str, Any]) -> Kubernetes:
    """Return the source that a configuration describes; None of its keys is required.

    Keys
    ----
    kubeconfig, context
        As of `Api`.
    namespaces
        The namespaces to watch, where access to all is not given.
    kinds
        The kinds to watch, in place of all of `hypocenter.tracer.kubernetes.kinds`.

    Raises
    ------
    SourceError
        An unknown key or kind, or no way to the API server.
    """
    if unknown := sorted(set(config) - set(_OPTIONS)):
        raise SourceError(f"kubernetes: unknown {', '.join(unknown)}; expected {', '.join(_OPTIONS)}")
    wanted = config.get("kinds")
    if wanted is not None and (strange := sorted(set(wanted) - set(BY_NAME))):
        raise SourceError(f"kubernetes.kinds: unknown {', '.join(strange)}; expected some of {', '.join(BY_NAME)}")
    kinds = KINDS if wanted is None else [BY_NAME[name] for name in wanted]
    namespaces = config.get("namespaces")
    if namespaces is not None and (isinstance(namespaces, str) or not namespaces):
        raise SourceError(f"kubernetes.namespaces: expected a list of names, got {namespaces!r}")
    return Kubernetes(Api(config.get("kubeconfig"), config.get("context")), kinds, namespaces)
