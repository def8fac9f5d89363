"""The bounded queue between the doors and the workers that commit."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from hypocenter.errors import Overloaded, SourceError

from ..batch import Batch
from ..privacy import Privacy
from ..store.remote import store_at
from .request import Accepted, Refused, Request, Work
from .telemetry import Telemetry
from .worker import Worker, WorkerDied

MIB = 1 << 20
_LONGEST_RETRY_S = 30.0
# A commit costs some 10 ms beside what its rows cost.
_GATHER_S = 0.005


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may wait and be at work at a time, and how much one commit takes of it."""

    queue_bytes: int = 128 * MIB
    queue_requests: int = 2048
    group_bytes: int = 8 * MIB
    workers: int = 2


@dataclass(slots=True)
class _Waiting:
    request: Request
    size: int
    future: Future[Accepted] = field(default_factory=Future)


class Intake:
    """Takes requests, groups those that wait, and answers each when it is durable.

    Whenever a worker is free it takes all that waits, up to ``group_bytes``: a commit begins as soon as the one before
    ends, and many share one write and one fsync. A lone request never waits for others; one that comes while another
    worker commits does so for some milliseconds.
    """

    def __init__(
        self,
        path: str,
        privacy: Privacy,
        bounds: Bounds,
        telemetry: Telemetry,
        open_store: Callable[[str], Any] = store_at,
    ) -> None:
        self._worker_arguments = (path, privacy, open_store)
        self._bounds, self._telemetry = bounds, telemetry
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._held_bytes = self._held_requests = 0
        self._at_work = 0  # workers that commit
        self._bytes_per_s = 0.0
        self._stopping = False
        self.failure: str | None = None
        workers = [Worker(*self._worker_arguments) for _ in range(bounds.workers)]
        for worker in workers:
            worker.wait_ready()
        self._threads = [
            threading.Thread(target=self._serve, args=(worker,), name=f"commit-{number}")
            for number, worker in enumerate(workers)
        ]
        for thread in self._threads:
            thread.start()
        telemetry.observe_queue(lambda: (self._held_bytes, self._held_requests))

    def reserve(self, size: int) -> None:
        """Hold room for bytes that are about to be read; raises Overloaded. To be given back by `release`."""
        with self._changed:
            full = self._held_bytes + size > self._bounds.queue_bytes and self._held_bytes > 0
            if full or self._held_requests >= self._bounds.queue_requests or self._stopping:
                what = "shutting down" if self._stopping else "the queue is full"
                raise Overloaded(f"{what}; try again later", retry_after_s=self._retry_after_s())
            self._held_bytes += size

    def release(self, size: int) -> None:
        """Give back what `reserve` held."""
        with self._changed:
            self._held_bytes -= size

    def submit(self, request: Request) -> Future[Accepted]:
        """Return what completes when the request is durable, or fails with Refused or SourceError.

        Raises Overloaded at once when the queue is full.
        """
        size = len(request.payload)
        self.reserve(size)
        waiting = _Waiting(request, size)
        with self._changed:
            self._held_requests += 1
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    def stop(self) -> None:
        """Refuse what is new, commit what waits, and end the workers."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _retry_after_s(self) -> float:
        seconds = self._held_bytes / self._bytes_per_s if self._bytes_per_s else 1.0
        return min(_LONGEST_RETRY_S, max(1.0, seconds))

    def _serve(self, worker: Worker) -> None:
        while group := self._take():
            begun = time.perf_counter()
            worker = self._commit(worker, group)
            self._done(group, time.perf_counter() - begun)
        worker.stop()

    def _take(self) -> list[_Waiting]:
        """Return what waits, oldest first; empty only when stopping and nothing waits."""
        group: list[_Waiting] = []
        size = 0
        with self._changed:
            while not group and (self._waiting or not self._stopping):
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                self._gather()
                while self._waiting and (not group or size + self._waiting[0].size <= self._bounds.group_bytes):
                    one = self._waiting.popleft()
                    if one.future.set_running_or_notify_cancel():
                        group.append(one)
                        size += one.size
                    else:  # its sender is gone, and nobody promised it anything
                        self._held_bytes -= one.size
                        self._held_requests -= 1
            self._at_work += bool(group)
        return group

    def _gather(self) -> None:
        """While another worker commits, wait a little for more to come: each commit has costs of its own."""
        until = time.monotonic() + _GATHER_S
        if sum(one.size for one in self._waiting) < self._bounds.group_bytes:
            while self._at_work and not self._stopping and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _done(self, group: Sequence[_Waiting], seconds: float) -> None:
        size = sum(one.size for one in group)
        with self._changed:
            self._held_bytes -= size
            self._held_requests -= len(group)
            self._at_work -= 1
            self._changed.notify_all()
            self._bytes_per_s += 0.2 * (self._bounds.workers * size / max(seconds, 1e-6) - self._bytes_per_s)

    def _commit(self, worker: Worker, group: Sequence[_Waiting]) -> Worker:
        try:
            outcomes, work = worker.commit([one.request for one in group])
        except WorkerDied:
            return self._after_death(worker, group)
        self._telemetry.committed(work)
        for one, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Accepted):
                self.failure = None
                one.future.set_result(outcome)
            else:
                if isinstance(outcome, SourceError):
                    self.failure = str(outcome)
                one.future.set_exception(outcome)
        return worker

    def _after_death(self, worker: Worker, group: Sequence[_Waiting]) -> Worker:
        """Try each request of a group that killed its worker alone: the one that kills again is refused for good."""
        self._telemetry.worker_died()
        worker.stop()
        worker = Worker(*self._worker_arguments)
        try:
            worker.wait_ready()
        except (WorkerDied, SourceError) as error:
            for one in group:
                one.future.set_exception(SourceError(f"no worker can start: {error}", retryable=True))
            time.sleep(1)
            return worker
        if len(group) == 1:
            group[0].future.set_exception(Refused("the request cannot be decoded: the decoder died of it"))
            return worker
        for one in group:
            worker = self._commit(worker, [one])
        return worker


class BatchSink:
    """The sink of the sources: their batches are large and few, so each is one commit in the source's own thread."""

    def __init__(self, path: str, privacy: Privacy, telemetry: Telemetry, open_store: Callable[[str], Any]) -> None:
        from .commit import Committer

        self._committer = Committer(open_store(path), privacy)
        self._lock = threading.Lock()
        self._telemetry = telemetry

    def put(self, batch: Batch, timeout_s: float | None = None) -> None:
        """As `Sink.put`."""
        from .commit import with_sane_clocks

        if not self._lock.acquire(timeout=-1 if timeout_s is None else timeout_s):
            raise Overloaded("other sources are being stored; try again later")
        try:
            work = Work()
            sane = with_sane_clocks(batch, time.time_ns())
            error = self._committer.append(self._committer.prepared([sane], work), work)
            self._telemetry.committed(work)
        finally:
            self._lock.release()
        if error is not None:
            raise error
