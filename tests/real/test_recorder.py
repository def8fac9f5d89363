"""A few seconds of the real shop: every service speaks, the fault is felt, and nothing is left behind."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from sample_data.cut import spans
from sample_data.wiring import CALLS, DATABASE

ROOT = Path(__file__).parents[2]
QUICK = ["--warmup", "3", "--users", "6", "--think", "0.3"]


def command(out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "sample_data", "record", "--out", str(out), *QUICK, *options]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture
def label(program: Callable[..., str], out: Path) -> dict[str, Any]:
    program("initdb", "postgresql/*/bin/initdb")
    if not (out / "CASES.jsonl").exists():
        fault = ["--fault", "failing-service", "--target", "gateway", "--baseline", "12", "--during", "12"]
        subprocess.run(command(out, *fault), check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    (line,) = (out / "CASES.jsonl").read_text(encoding="utf-8").splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def read(out: Path, label: dict[str, Any], signal_name: str) -> str:
    (path,) = label["paths"][signal_name]
    return gzip.decompress((out / path).read_bytes()).decode()


def test_every_service_and_the_database_speak(out: Path, label: dict[str, Any]) -> None:
    requests = [json.loads(line) for line in read(out, label, "traces").splitlines()]
    assert {service for service, _ in spans(requests)} == set(CALLS)
    logs = read(out, label, "logs")
    metrics = read(out, label, "metrics")
    for service in CALLS:
        assert f'{{"key":"service.name","value":{{"stringValue":"{service}"}}}}' in logs
        assert f'job="shop/{service}"' in metrics
    assert 'pg_stat_database_xact_commit_total{datname="shop",instance="' in metrics
    assert f'job="shop/{DATABASE}"' in metrics
    assert label["traces_complete"] is True


def test_fault_is_felt_at_the_entry_and_said_in_the_logs(out: Path, label: dict[str, Any]) -> None:
    assert (label["root_cause_service"], label["effect_visible"]) == ("gateway", True)
    assert all(e["error_ratio_before"] < e["error_ratio_during"] for e in label["effect"])
    failed = [line for line in read(out, label, "logs").splitlines() if "cannot decode pricing rules" in line]
    assert failed


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_recorder_that_is_ended_leaves_no_process_and_no_file(
    how: signal.Signals, program: Callable[..., str], tmp_path: Path
) -> None:
    program("initdb", "postgresql/*/bin/initdb")
    recorder = subprocess.Popen(
        command(tmp_path, "--baseline", "600"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A job in the background of a shell ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        family = wait_for_load(recorder)
        (folder,) = {Path(arguments(p)[-1]) for p in family if arguments(p)[:2] == ["sh", "-c"]}
        assert folder.is_dir()
        recorder.send_signal(how)
        recorder.wait(60)
        _gone, left = psutil.wait_procs(family, timeout=60)
    finally:
        recorder.kill()
        recorder.wait()
    assert left == []
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def wait_for_load(recorder: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return every process of a recording once users are at work."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and recorder.poll() is None:
        family = psutil.Process(recorder.pid).children(recursive=True)
        if any("sample_data.shop.load" in arguments(p) for p in family):
            return family
        time.sleep(0.1)
    raise AssertionError("the recording did not begin")


def arguments(process: psutil.Process) -> list[str]:
    """Return a process's command line, nothing for one that has just ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
