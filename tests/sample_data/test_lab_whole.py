"""A recording is of everything or is none: what must not end of itself is named when it does."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sample_data.lab.cluster import Running, pods
from sample_data.lab.lab import Lab
from sample_data.processes import Processes


def test_lab_whose_collector_or_server_ended_is_not_recorded_and_one_whose_pod_ended_is(tmp_path: Path) -> None:
    named = {pod.service: pod for pod in pods()}
    processes = Processes(tmp_path)
    running = {pod.name: Running(pod, tmp_path) for pod in (named["cart"], named["cache"])}
    lab = SimpleNamespace(processes=processes, cluster=SimpleNamespace(running=running))

    def end(name: str) -> None:
        processes.start(name, [sys.executable, "-c", "print('no space left')"])
        until = time.monotonic() + 30
        while not any(line.startswith(f"{name}:") for line in processes.exited()) and time.monotonic() < until:
            time.sleep(0.05)

    end(named["cart"].name)
    Lab.check_whole(lab)  # type: ignore[arg-type]
    end("collector")
    with pytest.raises(RuntimeError, match=r"ended during the recording: collector: no space left$"):
        Lab.check_whole(lab)  # type: ignore[arg-type]
    end("cache-0")
    with pytest.raises(RuntimeError, match="cache-0: no space left"):
        Lab.check_whole(lab)  # type: ignore[arg-type]
