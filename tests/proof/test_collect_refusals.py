"""The collector with more than it can take, and on a full disk: it refuses what may be sent again, and recovers."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from collecting import collector
from loading import Clients, numbered, trace_numbers

from hypocenter.tracer.store import Store

pytestmark = pytest.mark.timeout(3600)


def test_ten_times_the_load_is_refused_within_bounded_memory(tmp_path: Path, scaled: Callable[[int], int]) -> None:
    seconds = max(10, scaled(180))
    (tmp_path / "delay").write_text("0.5")
    peak = 0
    # Two workers that take half a second each: ten times as many requests as they can take are under way.
    bounds = {"queue_requests": 8, "group_bytes": 1 << 16}
    with collector(tmp_path / "store", odd="slow_store", bounds=bounds) as running, Clients(40) as clients:
        clients.wait_s = 0.2
        clients.port = running.ports["otlp-grpc"]
        top = psutil.Process(running.process.pid)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            peak = max(peak, sum(one.memory_info().rss for one in [top, *top.children(recursive=True)]))
            time.sleep(0.2)
        stored = running.metric("hypocenter_collect_accepted_total")
        refused = clients.refused
        (tmp_path / "delay").write_text("0")
        clients.port = None
        begun = time.monotonic()
        while True:
            answer = running.post("/v1/traces", numbered(10**9))
            if answer.status == 200:
                break
            assert answer.status == 429
            assert time.monotonic() - begun < 10
        recovered_s = time.monotonic() - begun
    assert clients.acknowledged <= set(trace_numbers(Store(tmp_path / "store")))
    assert clients.final == []
    assert refused >= 9 * stored  # offered was ten times what it took
    assert peak < 10**9
    print(
        f"\ncollect: overload for {seconds} s: {stored:.0f} requests taken, {refused} refused, peak {peak >> 20} MiB, "
        f"again served after {recovered_s:.2f} s"
    )


@contextmanager
def disk(folder: Path, is_real: bool) -> Iterator[tuple[Path, Callable[[], None], Callable[[], None]]]:
    """Yield a small disk, what fills it and what frees it; one that is not real is full when a file says so."""
    folder.mkdir()
    if not is_real:
        yield folder, (folder / "full").touch, (folder / "full").unlink
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", folder], check=True)
    filler = folder / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass

    try:
        yield folder, fill, filler.unlink
    finally:
        subprocess.run(["umount", folder], check=True)


def can_mount() -> bool:
    """Tell whether this process may mount a disk of its own, which a container may refuse."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False)
        return mounted.returncode == 0 and subprocess.run(["umount", folder], check=True).returncode == 0


@pytest.mark.parametrize("is_real", [False, True])
def test_full_disks_lose_nothing_acknowledged_and_are_left_when_there_is_room(
    tmp_path: Path, scaled: Callable[[int], int], is_real: bool
) -> None:
    if is_real and not can_mount():
        pytest.skip("mounting a small disk is refused here; the other case injects the error")
    rounds, slowest_s = scaled(40), 0.0
    with disk(tmp_path / "disk", is_real) as (folder, fill, free):
        odd = None if is_real else "full_store"
        with collector(folder / "store", odd=odd, upkeep={"every_s": 3600}) as running, Clients() as clients:
            clients.port = running.ports["otlp-grpc"]
            for _ in range(rounds):
                before = len(clients.acknowledged)
                waited(lambda before=before: len(clients.acknowledged) > before)
                fill()
                refused = clients.refused
                waited(lambda refused=refused: clients.refused > refused + 4)
                assert running.get("/readyz").status == 503
                assert "o space left" in running.get("/readyz").json()["store"]
                before, begun = len(clients.acknowledged), time.monotonic()
                free()
                waited(lambda before=before: len(clients.acknowledged) > before)
                slowest_s = max(slowest_s, time.monotonic() - begun)
            clients.port = None
            waited(lambda: running.get("/readyz").status == 200)
        store = Store(folder / "store")
        assert clients.acknowledged <= set(trace_numbers(store))
        assert store.problems == []
    assert clients.final == []
    print(
        f"\ncollect: {rounds} times a full disk ({'tmpfs' if is_real else 'injected'}), {len(clients.acknowledged)} "
        f"acknowledged calls, 0 lost, {clients.refused} refused; served again after {slowest_s:.2f} s at most"
    )


def waited(what: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)
