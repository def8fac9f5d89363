"""Seconds, processor seconds and peak memory of a function in a process of its own."""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a call took: wall clock and processor time of the call, peak resident memory of its whole process."""

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    result: Any

    def to_dict(self) -> dict[str, Any]:
        """Return the figures without the result."""
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_rss_bytes": self.peak_rss_bytes}


def measure(function: Callable[..., Any], **arguments: Any) -> Measurement:
    """Call a function of a module in a fresh Python process and return what it took.

    Arguments and result travel as JSON. Importing the function's module is not timed; what the function imports is.
    A failure of the process raises subprocess.CalledProcessError; its traceback is on standard error.
    """
    place = f"{function.__module__}:{function.__qualname__}"
    command = [sys.executable, "-m", "benchmarks.measure", place, json.dumps(arguments)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def peak_rss_bytes(pid: int | None = None) -> int:
    """Return the peak of a process, by default of this one; OSError when it has ended.

    Its ru_maxrss may be the parent's, whose memory a new process starts with.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    if pid is not None or status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _call(place: str, arguments: str) -> Measurement:
    module, name = place.split(":")
    function = getattr(importlib.import_module(module), name)
    clock, processor = time.perf_counter(), time.process_time()
    result = function(**json.loads(arguments))
    return Measurement(time.perf_counter() - clock, time.process_time() - processor, peak_rss_bytes(), result)


if __name__ == "__main__":
    measured = _call(sys.argv[1], sys.argv[2])
    print(json.dumps({**measured.to_dict(), "result": measured.result}))
