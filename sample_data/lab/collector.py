"""Where the lab's traces and logs go: `hypocenter collect`, a process of the lab with its store in the lab's folder."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

import pyarrow as pa

from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

from ..processes import Processes

PORT = 4318
_START_TIMEOUT_S = 60.0
# A recording tells what the services said, and few processors are to be shared: one worker, nothing derived.
_SETTINGS = {
    "admin": None,
    "bounds": {"workers": 1},
    "privacy": {"masks": False},
    "upkeep": {"rollups": False},
}


class Collector:
    """Takes OTLP over HTTP at `url`; `read` returns the rows of a window."""

    def __init__(self, processes: Processes, folder: Path, host: str) -> None:
        self.url = f"http://{host}:{PORT}"
        self._folder = folder / "store"
        otlp = {"grpc": None, "http": f"{host}:{PORT}"}
        config = folder / "collect.json"
        config.write_text(json.dumps({"store": str(self._folder), "otlp": otlp, **_SETTINGS}))
        program = Path(sys.executable).with_name("hypocenter")
        processes.start("collector", [str(program), "collect", "--config", str(config)])
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _answers(host):
            if time.monotonic() > deadline or processes.exited():
                raise RuntimeError(f"did not start: {'; '.join(processes.exited()) or 'the collector'}")
            time.sleep(0.1)

    def read(self, signal: str, start_ns: int, end_ns: int) -> pa.Table:
        """Return the rows of ``[start_ns, end_ns)``."""
        return Store(self._folder).read(signal, Window(start_ns, end_ns))


def _answers(host: str) -> bool:
    try:
        socket.create_connection((host, PORT), 0.1).close()
    except OSError:
        return False
    return True
