"""The users: ``python -m sample_data.lab.load ADDRESS SEED SETTINGS OUT`` until SIGTERM.

Visits come by themselves (open loop): a Poisson stream with bursts, however slow the shop is. Each goes through a few
requests with think times between. SEED decides who comes when and does what. SETTINGS is a file, ``{"pace": 1.0}``,
read again all the time: a surge of traffic is a faster pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import httpx

VISITS_PER_S, THINK_S = 2.2, 0.6
BURST_EVERY_S, BURST = 15.0, 3
_TIMEOUT_S = 8.0
_MIX = {"GET /": 4, "GET /product": 6, "GET /search": 3, "POST /login": 2, "POST /cart": 3, "POST /checkout": 4}


def arrivals(seed: int) -> Iterator[tuple[float, random.Random]]:
    """Yield for each visit the seconds after the one before, at a pace of 1, and what decides its course; for ever."""
    rng = random.Random(f"{seed}/load")
    until_burst_s = rng.expovariate(1 / BURST_EVERY_S)
    while True:
        wait_s = rng.expovariate(VISITS_PER_S)
        yield wait_s, random.Random(rng.random())
        until_burst_s -= wait_s
        if until_burst_s < 0:
            until_burst_s = rng.expovariate(1 / BURST_EVERY_S)
            for _ in range(BURST - 1):
                yield 0.0, random.Random(rng.random())


def visit(rng: random.Random) -> list[tuple[str, str, str]]:
    """Return the requests of one visit: operation, method, path."""
    user, requests = f"u{rng.randrange(1000)}", []
    for _ in range(rng.randint(2, 5)):
        operation = rng.choices(list(_MIX), list(_MIX.values()))[0]
        method, place = operation.split(" ")
        product = rng.randint(1, 200)
        tail = {
            "GET /": "",
            "POST /login": f"/{user}",
            "POST /cart": f"/{user}/{product}",
            "POST /checkout": f"/{user}",
        }
        requests.append((operation, method, place + tail.get(operation, f"/{product}")))
    return requests


async def _visit(client: httpx.AsyncClient, rng: random.Random, out: TextIO) -> None:
    for operation, method, path in visit(rng):
        begun, clock = time.time_ns(), time.perf_counter()
        try:
            status = (await client.request(method, path)).status_code
        except httpx.HTTPError:
            status = 0
        took_ms = round(1000 * (time.perf_counter() - clock), 3)
        out.write(
            json.dumps({"time_ns": begun, "operation": operation, "status": status, "duration_ms": took_ms}) + "\n"
        )
        await asyncio.sleep(rng.expovariate(1 / THINK_S))


async def _run(address: str, seed: int, settings: Path, out: TextIO) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2.0)
    visits: set[asyncio.Task[None]] = set()
    async with httpx.AsyncClient(base_url=f"http://{address}:8080", timeout=_TIMEOUT_S, limits=limits) as client:
        for wait_s, rng in arrivals(seed):
            pace = json.loads(settings.read_text(encoding="utf-8"))["pace"]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s / pace)
            if stop.is_set():
                break
            task = asyncio.create_task(_visit(client, rng, out))
            visits.add(task)
            task.add_done_callback(visits.discard)
        await asyncio.gather(*visits)


def main() -> None:
    """Read the arguments and run until SIGTERM."""
    address, seed, settings, path = sys.argv[1:]
    with Path(path).open("w", encoding="utf-8", buffering=1) as out:
        asyncio.run(_run(address, int(seed), Path(settings), out))


if __name__ == "__main__":
    main()
