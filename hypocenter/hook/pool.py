"""The workers as the hook sees them: asked with a time limit, killed when it passes, replaced when they end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import sys
from dataclasses import dataclass, field
from typing import Any

import orjson

from hypocenter.errors import RankerError

_log = logging.getLogger(__name__)
# A ranking of a thousand services is one line of some hundred kilobytes.
_LINE_BYTES = 64 << 20
# A worker that ends as soon as it starts must not take the machine.
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
RANK, KNOWN, CASE, DRAW = range(4)  # the more urgent first


@dataclass(order=True)
class _Request:
    urgency: int
    number: int
    kind: str = field(compare=False)
    arguments: dict[str, Any] = field(compare=False)
    timeout_s: float = field(compare=False)
    answer: asyncio.Future[dict[str, Any]] = field(compare=False)


class Pool:
    """``workers`` processes of at most ``worker_bytes`` resident memory each; use as an async context."""

    def __init__(self, workers: int, worker_bytes: int) -> None:
        self._count = workers
        self._bound = worker_bytes
        self._queue: asyncio.PriorityQueue[_Request] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []
        self._pids: set[int] = set()
        self.restarts = 0
        self.warm = asyncio.Event()

    async def __aenter__(self) -> Pool:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def pids(self) -> frozenset[int]:
        """The process ids of the workers that run."""
        return frozenset(self._pids)

    async def ask(self, urgency: int, kind: str, arguments: dict[str, Any], timeout_s: float, /) -> dict[str, Any]:
        """Return the answer of a function of `hypocenter.hook.ranking`.

        Raises
        ------
        RankerError
            It failed, took longer than ``timeout_s`` from when it began, its process ended, or none was free in time.
        """
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        await self._queue.put(_Request(urgency, next(self._numbers), kind, arguments, timeout_s, answer))
        try:
            async with asyncio.timeout(2 * timeout_s):
                return await answer
        except TimeoutError as error:
            raise RankerError(f"{kind}: no worker was free within {2 * timeout_s:g} s") from error

    async def _run(self) -> None:
        """Keep one worker alive and give it one request after the other."""
        pause_s = _PAUSE_S
        while True:
            served = False
            try:
                served = await self._life()
            except OSError as error:
                _log.warning("a worker cannot be started: %s", error)
            self.restarts += 1
            pause_s = _PAUSE_S if served else min(2 * pause_s, _LONGEST_PAUSE_S)
            await asyncio.sleep(0 if served else pause_s)

    async def _life(self) -> bool:
        """Run one worker to its end; return whether it served."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hypocenter.hook.worker", str(self._bound)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            # Arenas of many threads keep what a ranking has freed.
            env=os.environ | {"MALLOC_ARENA_MAX": "2"},
        )
        self._pids.add(process.pid)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if not await process.stdout.readline():
                _log.warning("a worker ended before it was ready")
                return False
            self.warm.set()
            ended = asyncio.create_task(process.wait())
            try:
                while not ended.done():
                    waiting = asyncio.create_task(self._queue.get())
                    try:
                        await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        if not waiting.done():
                            waiting.cancel()
                    if waiting.cancelled() or not waiting.done():
                        return True
                    if not await self._answer(waiting.result(), process.stdin, process.stdout):
                        return True
                return True
            finally:
                ended.cancel()
        finally:
            self._pids.discard(process.pid)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _answer(self, request: _Request, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> bool:
        """Return whether the worker can serve on."""
        if request.answer.done():  # nobody waits any more
            return True
        line = {"id": request.number, "kind": request.kind, "arguments": request.arguments}
        failure = "the worker ended"
        try:
            stdin.write(orjson.dumps(line) + b"\n")
            await stdin.drain()
            said = await asyncio.wait_for(stdout.readline(), request.timeout_s)
        except TimeoutError:
            said, failure = b"", f"no answer within {request.timeout_s:g} s; the worker is ended"
        except (OSError, ValueError) as error:
            said, failure = b"", f"the worker ended: {error}"
        except asyncio.CancelledError:
            request.answer.cancel()
            raise
        answer = orjson.loads(said) if said.endswith(b"\n") else None
        if not request.answer.done():
            if answer is not None and "result" in answer:
                request.answer.set_result(answer["result"])
            else:
                reason = failure if answer is None else answer.get("error", "no reason")
                request.answer.set_exception(RankerError(f"{request.kind}: {reason}"))
        return answer is not None
