"""Receivers down, slow or refusing, store and servers broken, the hook killed: every alert arrives."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "real"), str(TESTS / "hook")]

import hook_chain as chain  # noqa: E402
from hooks import alert, body  # noqa: E402
from servers_that_answer import serving  # noqa: E402

from hypocenter.hook.deliver import UNNOTED  # noqa: E402
from hypocenter.hook.outward import LANES  # noqa: E402

ALERTS = 10_000
SENDERS = 16
TIMEOUT_S = 5


class Trouble:
    """A receiver's behaviour: of each hundred answers some are slow, 500 or 503, and for a while all are 503.

    While it ``is_picky`` every 97th alert is refused for good; once it ``is_well`` all are taken.
    """

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._lock = threading.Lock()
        self.is_down, self.is_picky, self.is_well = False, True, False

    def answer(self, _path: str, _headers: dict[str, str], content: bytes) -> int:
        with self._lock:
            chance = self._draw.random()
        if self.is_well:
            return 200
        if self.is_down:
            return 503
        if self.is_picky and number_of(json.loads(content)) % 97 == 0:
            return 422
        if chance < 0.001:
            time.sleep(TIMEOUT_S + 1)  # nobody waits for this answer any more
            return 500
        if chance < 0.02:
            time.sleep(0.3)
        return 500 if chance < 0.06 else 503 if chance < 0.08 else 200


def number_of(got: dict[str, Any]) -> int:
    return int(got["alerts"][0]["labels"]["alertname"][1:])


async def send_all(address: str, numbers: list[int], kills: Callable[[int], None] | None = None) -> None:
    """Post each alert until it is acknowledged, as Alertmanager does on 5xx and broken connections."""
    left = iter(numbers)
    sent = 0

    async def sender(client: httpx.AsyncClient) -> None:
        nonlocal sent
        for number in left:
            content = body(alert(f"s{number % 300}", name=f"A{number}"), group=f"g{number % 500}")
            while True:
                try:
                    answer = await client.post(f"http://{address}/alertmanager", content=content)
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                    continue
                if answer.status_code == 200:
                    break
                await asyncio.sleep(0.05)
            sent += 1
            if kills is not None:
                await asyncio.to_thread(kills, sent)

    async with httpx.AsyncClient(timeout=30) as client:
        await asyncio.gather(*(sender(client) for _ in range(SENDERS)))


class Kept(chain.Listener):
    """A listener that keeps what it answered beside each request."""

    def __init__(self, answer: Callable[[str, dict[str, str], bytes], int]) -> None:
        self.taken: Counter[str] = Counter()
        self.keys: dict[str, set[str]] = {}
        lock = threading.Lock()

        def noted(path: str, headers: dict[str, str], content: bytes) -> int:
            status = answer(path, headers, content)
            got = json.loads(content)
            name = got["alerts"][0]["labels"]["alertname"]
            # What follows an alert is a message of its own, with a key of its own.
            if not got["commonAnnotations"].get("hypocenter_follow_up"):
                with lock:
                    self.keys.setdefault(name, set()).add(headers["idempotency-key"])
                    if status == 200:
                        self.taken[name] += 1
            return status

        super().__init__(noted)


def configured(folder: Path, url: str, **more: Any) -> dict[str, Any]:
    retry = {"first": "50ms", "longest": "1s", "timeout": TIMEOUT_S}
    return {"state": str(folder / "state"), "sinks": [{"kind": "webhook", "url": url}], "retry": retry} | more


def test_killed_again_and_again_the_hook_loses_nothing(tmp_path: Path, scaled: Callable[[int], int]) -> None:
    total, draw = scaled(ALERTS), random.Random(4)
    trouble = Trouble(5)
    with Kept(trouble.answer) as receiver:
        config = configured(tmp_path, receiver.url)
        address = config["listen"] = f"127.0.0.1:{chain.free_port()}"
        file = tmp_path / "hook.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("hypocenter")), "hook", "--config", str(file)]
        state = {"kills": 0, "next": draw.randint(20, 80)}
        lives: list[Any] = [chain.process(command, tmp_path / "hook.log")]
        running = lives[-1].__enter__()
        up = threading.Lock()

        def kill(sent: int) -> None:
            nonlocal running
            with up:
                if sent >= state["next"]:
                    # At most fifty lives, spread over the run.
                    state["next"] = sent + draw.randint(max(20, total // 50), max(80, total // 25))
                    state["kills"] += 1
                    trouble.is_down = state["kills"] % 3 == 0
                    running.send_signal(signal.SIGKILL)
                    running.wait()
                    lives.append(chain.process(command, tmp_path / "hook.log"))
                    running = lives[-1].__enter__()

        try:
            asyncio.run(send_all(address, list(range(total)), kill))
            trouble.is_down = False
            refused = len(range(0, total, 97))
            chain.wait_for(lambda: len(receiver.taken) == total - refused, "every alert that is not refused", 120)
            time.sleep(1.5)  # what would come twice comes by now
        finally:
            for life in lives:
                life.__exit__(None, None, None)
        trouble.is_well = True
        subprocess.run([*command[:2], "replay", *command[2:]], check=True, stdout=subprocess.DEVNULL)
    twice = {name for name, count in receiver.taken.items() if count > 1}
    assert len(receiver.taken) == total
    assert {name for name, keys in receiver.keys.items() if len(keys) > 1} == set()
    # In flight at a kill: what was sent and not noted yet, and what a sender had posted and not heard of.
    assert len(twice) <= state["kills"] * (LANES + UNNOTED + SENDERS)
    told = f"{state['kills']} kills, {refused} refused and replayed, 0 lost, {len(twice)} twice with the same key"
    print(f"\nhook: {total} alerts, {told}")


@pytest.mark.parametrize("broken", ["store missing", "store corrupt", "servers hang"])
def test_what_breaks_beside_the_hook_holds_no_alert_up(
    tmp_path: Path, scaled: Callable[[int], int], broken: str
) -> None:
    total = scaled(ALERTS) // 4
    more: dict[str, Any] = {"store": str(tmp_path / "store")}
    if broken != "store missing":
        _fill_store(tmp_path / "store", corrupt=broken == "store corrupt")
    over = threading.Event()
    with Kept(lambda *_: 200) as receiver, serving(lambda _: over.wait(60) and None) as (hanging, _):
        if broken == "servers hang":
            more |= {"prometheus": hanging, "jaeger": hanging, "tempo": hanging}
        with chain.hook(tmp_path, configured(tmp_path, receiver.url, **more)) as (url, _):
            begin = time.monotonic()
            asyncio.run(send_all(url.removeprefix("http://"), list(range(total))))
            chain.wait_for(lambda: len(receiver.taken) == total, "every alert", 120)
            took = time.monotonic() - begin
        over.set()
    assert dict(receiver.taken) == dict.fromkeys((f"A{number}" for number in range(total)), 1)
    assert {name for name, keys in receiver.keys.items() if len(keys) > 1} == set()
    print(f"\nhook: {broken}: {total} alerts in {took:.1f} s, each once")


def _fill_store(path: Path, corrupt: bool) -> None:
    import small_incident as small

    from hypocenter.tracer.store import Store

    store = Store(path, create=True)
    store.append(small.telemetry())
    for file in (path / "spans").rglob("*.parquet") if corrupt else ():
        file.write_bytes(b"PAR1" + b"\0" * 100)
    shutil.rmtree(path / "rollups", ignore_errors=True)
