"""What the tests of the real lab share: the servers that it needs, and one short incident recorded for all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
QUICK = ["--baseline", "25", "--during", "20", "--recovery", "2"]


def needs(program: Callable[..., str]) -> None:
    """Skip, or in CI fail, where a server of the lab is not installed."""
    program("initdb", "postgresql/*/bin/initdb")
    for name in ("redis-server", "rabbitmq-server", "prometheus", "node", "npm", "ip", "strace"):
        program(name)


def command(out: Path, *options: str) -> list[str]:
    """Return the command that records one incident."""
    return [sys.executable, "-m", "sample_data.lab", "record", "--out", str(out), *QUICK, *options]


def without_namespaces(*command: str) -> list[str]:
    """Return the command as a user runs it who may not make namespaces."""
    return ["setpriv", "--bounding-set=-sys_admin", *command] if os.geteuid() == 0 else list(command)


def record_once(out: Path, *options: str) -> dict[str, Any]:
    """Return the label of the incident in ``out``, recorded if it is not there yet."""
    if not (out / "CASES.jsonl").exists():
        subprocess.run(command(out, *options), check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    (line,) = (out / "CASES.jsonl").read_text(encoding="utf-8").splitlines()
    label: dict[str, Any] = json.loads(line)
    return label
