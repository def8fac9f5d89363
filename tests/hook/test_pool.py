"""Workers that are killed or hang are replaced, and who asked hears of it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from hypocenter.errors import RankerError
from hypocenter.hook.pool import KNOWN, Pool


def test_a_killed_and_a_hanging_worker_are_replaced(tmp_path: Path) -> None:
    arguments = {"sources": {"store": str(tmp_path / "none")}, "now_ns": 0, "ask_s": 0}

    async def failure(pool: Pool, timeout_s: float) -> str:
        try:
            await pool.ask(KNOWN, "known", arguments, timeout_s)
        except RankerError as error:
            return str(error)
        return ""

    async def whole() -> tuple[list[str], int]:
        async with Pool(1, 2 << 30) as pool:
            await pool.warm.wait()
            said = [await failure(pool, 100)]
            (first,) = pool.pids
            os.kill(first, signal.SIGKILL)
            while pool.pids <= {first}:
                await asyncio.sleep(0.05)
            said.append(await failure(pool, 100))
            (second,) = pool.pids
            os.kill(second, signal.SIGSTOP)
            said += [await failure(pool, 0.2), await failure(pool, 100)]
            return said, pool.restarts

    said, restarts = asyncio.run(whole())
    assert [("none" in text, "no " in text) for text in (said[0], said[1], said[3])] == [(True, True)] * 3
    assert said[2].startswith("known: no ")
    assert restarts >= 1
