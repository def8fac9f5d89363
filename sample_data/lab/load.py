"""The users: ``python -m sample_data.lab.load ADDRESS SEED SETTINGS OUT`` until SIGTERM.

Visits come by themselves (open loop): a Poisson stream with bursts, however slow the shop is. Each goes through a few
requests with think times between. SETTINGS is a file, ``{"visits_per_s": 2.0}``, read again all the time: a surge of
traffic is a change of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

import httpx

THINK_S, BURST_EVERY_S, BURST = 0.6, 15.0, 3
_TIMEOUT_S = 8.0
_MIX = {"GET /": 4, "GET /product": 6, "GET /search": 3, "POST /login": 2, "POST /cart": 3, "POST /checkout": 4}


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
    rng = random.Random(f"{seed}/load")
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2.0)
    visits: set[asyncio.Task[None]] = set()
    async with httpx.AsyncClient(base_url=f"http://{address}:8080", timeout=_TIMEOUT_S, limits=limits) as client:
        next_burst = time.monotonic() + rng.expovariate(1 / BURST_EVERY_S)
        while not stop.is_set():
            rate = json.loads(settings.read_text(encoding="utf-8"))["visits_per_s"]
            count = 1
            if time.monotonic() > next_burst:
                count, next_burst = BURST, time.monotonic() + rng.expovariate(1 / BURST_EVERY_S)
            for _ in range(count):
                task = asyncio.create_task(_visit(client, random.Random(rng.random()), out))
                visits.add(task)
                task.add_done_callback(visits.discard)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rng.expovariate(rate))
        await asyncio.gather(*visits)


def main() -> None:
    """Read the arguments and run until SIGTERM."""
    address, seed, settings, path = sys.argv[1:]
    with Path(path).open("w", encoding="utf-8", buffering=1) as out:
        asyncio.run(_run(address, int(seed), Path(settings), out))


if __name__ == "__main__":
    main()
