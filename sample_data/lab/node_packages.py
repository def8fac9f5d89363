"""The packages of the Node services, installed once by the lock file into a folder outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

_NODE = Path(__file__).with_name("node")


class NodeMissing(RuntimeError):
    """Node or npm is not installed; the message says how to install it."""


def folder() -> Path:
    """Return the folder with node_modules and the program, made by ``npm ci`` when the lock file is new (10 s)."""
    if not (shutil.which("node") and shutil.which("npm")):
        raise NodeMissing("the lab needs Node 18 or newer: apt-get install -y --no-install-recommends nodejs npm")
    lock = _NODE / "package-lock.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hypocenter"
    made = cache / f"lab-node-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lab-node.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (made / "ready").exists():
            made.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_NODE / name, made)
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=made, check=True, stdout=2)
            (made / "ready").touch()
        # Beside its packages, because that is where Node looks for them.
        for program in _NODE.glob("*.js"):
            new = made / f"{program.name}.new"
            shutil.copy(program, new)
            new.replace(made / program.name)
    return made
