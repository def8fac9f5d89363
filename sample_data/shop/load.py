"""The users of the shop: ``python -m sample_data.shop.load URL SEED USERS THINK_S OUT`` until SIGTERM.

Each user runs one visit after another: look around, put things into the cart, perhaps pay. What a user does is drawn
from the seed; when it happens depends on how fast the shop answers, as with real users.
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

from .handlers import PRODUCTS

_TIMEOUT_S = 10.0
_UNKNOWN_PRODUCT = 0.02  # share of stale links, which the shop answers with 404


def visit(user: str, rng: random.Random) -> Iterator[tuple[str, str, str, dict[str, int] | None]]:
    """Yield the requests of one visit: operation, method, path, body."""
    if rng.random() < 0.7:
        yield "GET /", "GET", "/", None
    for _ in range(rng.randint(1, 4)):
        product = PRODUCTS + 1 if rng.random() < _UNKNOWN_PRODUCT else rng.randint(1, PRODUCTS)
        yield "GET /product/{product}", "GET", f"/product/{product}", None
        if rng.random() < 0.5 and product <= PRODUCTS:
            yield "POST /cart/{user}", "POST", f"/cart/{user}", {"product": product}
    if rng.random() < 0.5:
        yield "GET /cart/{user}", "GET", f"/cart/{user}", None
        if rng.random() < 0.8:
            yield "POST /checkout/{user}", "POST", f"/checkout/{user}", None


async def _user(
    client: httpx.AsyncClient, rng: random.Random, think_s: float, stop: asyncio.Event, out: TextIO
) -> None:
    await _pause(rng.uniform(0, 2 * think_s), stop)
    while True:
        for operation, method, path, body in visit(f"u{rng.randrange(10_000)}", rng):
            if stop.is_set():
                return
            begun, clock = time.time_ns(), time.perf_counter()
            try:
                status = (await client.request(method, path, json=body)).status_code
            except httpx.HTTPError:
                status = 0
            took_ms = 1000 * (time.perf_counter() - clock)
            record = {"time_ns": begun, "operation": operation, "status": status, "duration_ms": round(took_ms, 3)}
            out.write(json.dumps(record) + "\n")
            await _pause(rng.expovariate(1 / think_s), stop)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _run(url: str, seed: int, users: int, think_s: float, out: TextIO) -> None:
    stop = asyncio.Event()
    # A request under way is finished, so that no trace ends in the middle.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S) as client:
        rngs = [random.Random(f"{seed}/user/{number}") for number in range(users)]
        await asyncio.gather(*(_user(client, rng, think_s, stop, out) for rng in rngs))


def main() -> None:
    """Read the arguments and run until SIGTERM."""
    url, seed, users, think_s, path = sys.argv[1:]
    with Path(path).open("w", encoding="utf-8") as out:
        asyncio.run(_run(url, int(seed), int(users), float(think_s), out))


if __name__ == "__main__":
    main()
