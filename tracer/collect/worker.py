"""A process that decodes and commits: decoding holds Python's lock, and the doors must stay quick.

JSON goes over the pipe, the bytes of the requests through memory that both share: a pipe takes them in many steps. The
process ends when its pipe does, after the commit in hand.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from hypocenter.errors import SourceError

from ..memory import MIB, keep_for_reuse
from ..privacy import Privacy
from .request import Accepted, Refused, Request, Work

if TYPE_CHECKING:
    from .commit import Committer

# Requests that unfold to more than this kill their worker, not the machine.
_MEMORY_BYTES = 3 << 30
# Decoding a full group takes about so much for a moment, again and again.
_REUSED_BYTES = 128 * MIB
# Of the memory shared with the process; what a larger group took of it is given back.
_SHARED_BYTES = 16 * MIB
_processes = multiprocessing.get_context("spawn")


class WorkerDied(Exception):
    """The process ended while it had work."""


class Worker:
    """A worker seen from outside; ``open_store`` is a function of a module, called in the process."""

    def __init__(self, path: str, privacy: Privacy, open_store: Callable[[str], Any]) -> None:
        self._pipe, inner = _processes.Pipe()
        rules = (privacy.allow, privacy.deny, privacy.hash, privacy.masks, privacy.key)
        self._process = _processes.Process(target=run, args=(inner, path, rules, open_store), daemon=True)
        self._process.start()
        inner.close()
        self._shared = _shared_file()
        with suppress(OSError):  # it died at once, as `wait_ready` will tell
            send_handle(self._pipe, self._shared.fileno(), self._process.pid)

    def wait_ready(self) -> None:
        """Return when it can work; raises SourceError when the store cannot be opened, WorkerDied when it died."""
        answer = self._receive()
        if "error" in answer:
            raise SourceError(answer["error"], retryable=answer["retryable"])

    def commit(self, group: Sequence[Request]) -> tuple[list[Accepted | Exception], Work]:
        """As `Committer.commit`; raises WorkerDied."""
        try:
            end = 0
            for request in group:
                _write(self._shared, request.payload, end)
                end += len(request.payload)
            header = [[request.kind, request.content_type, len(request.payload)] for request in group]
            self._pipe.send_bytes(orjson.dumps(header))
        except OSError:
            raise WorkerDied from None
        answer = self._receive()
        if end > _SHARED_BYTES:
            self._shared.truncate(_SHARED_BYTES)
        return [_outcome(*one) for one in answer["outcomes"]], Work(**answer["work"])

    def stop(self) -> None:
        """End the process after the commit in hand."""
        self._pipe.close()
        self._shared.close()
        self._process.join(30)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _receive(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = orjson.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            raise WorkerDied from None
        return answer


def run(pipe: Connection, path: str, rules: tuple[Any, ...], open_store: Callable[[str], Any]) -> None:
    """Commit group after group until the pipe is closed."""
    from .commit import Committer

    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides when to end
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    keep_for_reuse(_REUSED_BYTES)
    try:
        shared = recv_handle(pipe)
    except (EOFError, OSError):  # the parent is gone
        return
    try:
        committer = Committer(open_store(path), Privacy(*rules))
    except SourceError as error:
        pipe.send_bytes(orjson.dumps({"error": str(error), "retryable": error.retryable}))
        return
    _warm_up(committer)
    gc.freeze()
    pipe.send_bytes(b"{}")
    while True:
        try:
            header = orjson.loads(pipe.recv_bytes())
        except EOFError:
            return
        ends = itertools.accumulate(size for _, _, size in header)
        group = [
            Request(kind, content_type, os.pread(shared, size, end - size))
            for (kind, content_type, size), end in zip(header, ends, strict=True)
        ]
        outcomes, work = committer.commit(group)
        del group
        try:
            pipe.send_bytes(orjson.dumps({"outcomes": [_told(one) for one in outcomes], "work": asdict(work)}))
        except OSError:  # the parent is gone
            return


def _shared_file() -> IO[bytes]:
    """Return a file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("requests"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _write(file: IO[bytes], content: bytes, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(file.fileno(), view, at)
        view, at = view[written:], at + written


def _warm_up(committer: Committer) -> None:
    """Do with a request of each kind all but the storing: a lone first request must not pay for imports."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from ..otlp.decode import decode
    from ..store.segment import write

    traces, metrics, logs = ExportTraceServiceRequest(), ExportMetricsServiceRequest(), ExportLogsServiceRequest()
    span = traces.resource_spans.add().scope_spans.add().spans.add(trace_id=bytes(15) + b"1", span_id=bytes(7) + b"1")
    span.attributes.add(key="url.full").value.string_value = "1"
    gauge = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="warm").gauge
    gauge.data_points.add(time_unix_nano=1, as_int=1)
    logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=1).body.string_value = "warm"
    for kind, request in (("traces", traces), ("metrics", metrics), ("logs", logs)):
        batch = committer.prepared([decode(kind, request.SerializeToString())], Work())
        for signal_name, table in batch.tables.items():
            if table.num_rows:
                write(Path(os.devnull), signal_name, table, {})


def _told(outcome: Accepted | Exception) -> tuple[Any, ...]:
    match outcome:
        case Accepted(rejected, message):
            return ("accepted", rejected, message)
        case SourceError():
            return ("store", int(outcome.retryable), str(outcome))
    return ("refused", 0, str(outcome))


def _outcome(kind: str, number: int, message: str) -> Accepted | Exception:
    match kind:
        case "accepted":
            return Accepted(number, message)
        case "store":
            return SourceError(message, retryable=bool(number))
    return Refused(message)
