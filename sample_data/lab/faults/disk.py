"""Faults of the disk that a pod writes to: full, or slow."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ..servers import binary
from ..wiring import DATABASE
from .fault import Fault

if TYPE_CHECKING:
    from ..lab import Lab

# What a process waits for when it must have its bytes on the disk: PostgreSQL's log is written by pwrite.
_WRITES = "fsync,fdatasync,pwrite64"
_ATTACH_S = 10.0


class DiskFull(Fault):
    name, granularity, indicator, needs_namespaces = "disk-full", "pod", "disk", True
    meaning = "the pod's volume has no space left"
    targets = ("invoice",)

    def begin(self, lab: Lab) -> None:
        with contextlib.suppress(OSError), (self._volume(lab) / "core.dump").open("ab", buffering=0) as file:
            while True:
                file.write(os.urandom(65536))

    def step(self, lab: Lab, since_s: float) -> None:
        self.begin(lab)

    def end(self, lab: Lab) -> None:
        for name in ("core.dump", "journal"):
            (self._volume(lab) / name).unlink(missing_ok=True)

    def _volume(self, lab: Lab) -> Path:
        run = lab.struck(self)
        return Path(f"/proc/{run.pid}/root{run.folder}/volume")


class DiskSlow(Fault):
    name, granularity, indicator = "disk-slow", "pod", "disk"
    meaning = "each write that the pod waits for takes delay_s longer, held inside the system call"
    targets = ("invoice", DATABASE)
    strength = {"delay_s": (0.2, 0.4)}

    def prepare(self, lab: Lab) -> None:
        binary("strace", "strace")

    def begin(self, lab: Lab) -> None:
        pid = lab.struck(self).pid
        pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        held = f"inject={_WRITES}:delay_enter={int(1e6 * self.parameters['delay_s'])}"
        words = [binary("strace", "strace"), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={_WRITES}", "-e", held]
        lab.processes.start(self._tracer, [*words, *(f"--attach={pid}" for pid in pids)])
        until = time.monotonic() + _ATTACH_S
        while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8"):
            if time.monotonic() > until:
                raise RuntimeError(f"disk-slow: strace cannot attach to process {pid}; allow ptrace or run as root")
            time.sleep(0.05)

    def end(self, lab: Lab) -> None:
        lab.processes.stop(self._tracer)

    @property
    def _tracer(self) -> str:
        return f"slow-disk-{self.target}"
