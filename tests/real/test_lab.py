"""The lab leaves nothing behind, whatever ends its recorder: no process, no interface, no file."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from lab_recording import ROOT, command, needs, without_namespaces
from test_recorder import arguments

from sample_data.lab.network import may_use_namespaces

pytestmark = pytest.mark.timeout(600)


def interfaces() -> set[str]:
    return {name.split("@")[0] for name in (path.name for path in Path("/sys/class/net").iterdir())}


def wait_for_load(recorder: subprocess.Popen[bytes]) -> list[psutil.Process]:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and recorder.poll() is None:
        family = psutil.Process(recorder.pid).children(recursive=True)
        if any("sample_data.lab.load" in arguments(process) for process in family):
            return family
        time.sleep(0.2)
    raise AssertionError("the recording did not begin")


@pytest.mark.parametrize(
    ("how", "isolated"),
    [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGKILL, True), (signal.SIGKILL, False)],
    ids=lambda given: given.name if isinstance(given, signal.Signals) else "namespaces" if given else "loopback",
)
def test_recorder_that_is_ended_leaves_no_process_no_interface_and_no_file(
    how: signal.Signals, isolated: bool, program: Callable[..., str], tmp_path: Path
) -> None:
    needs(program)
    if isolated and not may_use_namespaces():
        pytest.skip("namespaces are not allowed here")
    words = command(tmp_path, "--baseline", "600")
    recorder = subprocess.Popen(
        words if isolated else without_namespaces(*words),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A job in the background of a shell ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    link = f"hypo{recorder.pid}"
    try:
        family = wait_for_load(recorder)
        assert (link in interfaces()) == isolated
        (folder,) = {
            Path(arguments(p)[-1]) for p in family if arguments(p)[:2] == ["sh", "-c"] and "rm -rf" in arguments(p)[2]
        }
        recorder.send_signal(how)
        recorder.wait(60)
        _gone, left = psutil.wait_procs(family, timeout=60)
        deadline = time.monotonic() + 30
        while (folder.exists() or link in interfaces()) and time.monotonic() < deadline:
            time.sleep(0.2)
    finally:
        recorder.kill()
        recorder.wait()
    assert left == []
    assert link not in interfaces()
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
