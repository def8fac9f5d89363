"""Child processes that cannot outlive the recorder, whatever ends it, and a working folder that goes with them."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

STOP_TIMEOUT_S = 15


class Processes:
    """Starts children by name; must be used from the main thread, since a child dies with the thread that made it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        death: str = "KILL",
        user: pwd.struct_passwd | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Start a child and return its process id; ``death`` is the signal that it gets when the recorder dies."""
        with (self._folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                ["setpriv", "--pdeathsig", death, *as_user(user), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                # Ctrl-C reaches the recorder alone, which stops its children in order.
                start_new_session=True,
            )
        self._running[name] = child
        return child.pid

    def exited(self) -> list[str]:
        """Return the names of children that ended on their own, with the last line that each wrote."""
        return [f"{name}: {self._last_line(name)}" for name, c in self._running.items() if c.poll() is not None]

    def kill(self, name: str) -> None:
        """End a child at once, as a crash does."""
        child = self._running.pop(name)
        child.kill()
        child.wait()

    def stop(self, name: str) -> None:
        """Ask a child to end and wait for it; one that does not listen is killed with its session."""
        self._end([self._running.pop(name)])

    def stop_all(self) -> None:
        """Stop every child that still runs, the latest started first."""
        children = [self._running.pop(name) for name in reversed(list(self._running))]
        self._end(children)

    def kill_all(self, but: str) -> None:
        """End every child and what it started at once, and then ask ``but``, which must close its files, to end."""
        last = [self._running.pop(but)] if but in self._running else []
        for child in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        for child in self._running.values():
            child.wait()
        self._running.clear()
        self._end(last)

    def _end(self, children: list[subprocess.Popen[bytes]]) -> None:
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            try:
                child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()

    def _last_line(self, name: str) -> str:
        lines = (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "no output"


def as_user(user: pwd.struct_passwd | None) -> list[str]:
    """Return the arguments of setpriv that give up root for ``user``."""
    return [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """Yield a folder that is removed afterwards, even when this process is killed: a watcher holds the other end."""
    folder = Path(tempfile.mkdtemp(prefix="hypocenter-shop-"))
    folder.chmod(0o755)  # the database runs as a user of its own
    script = 'cat >/dev/null; while [ -e "$1" ]; do rm -rf "$1" 2>/dev/null || sleep 0.2; done'
    watcher = subprocess.Popen(["sh", "-c", script, "sh", str(folder)], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        watcher.communicate()
