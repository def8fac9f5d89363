"""Which of several collectors keeps the store up: the one that holds the lease, as long as it renews it."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson


@dataclass(slots=True)
class Lease:
    """A file that names its holder and until when; a holder that died is followed by another when it has run out."""

    path: Path
    seconds: float
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}")

    def hold(self) -> bool:
        """Take or renew the lease; return whether we hold it now. Raises OSError."""
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            holder, until = self._read(file.read())
            if holder != self.holder and until > time.time():
                return False
            self._write(file.fileno(), time.time() + self.seconds)
            return True

    def give_up(self) -> None:
        """Let another take it at once."""
        if self.hold():
            with self.path.open("r+b") as file:
                self._write(file.fileno(), 0.0)

    def _write(self, descriptor: int, until: float) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, orjson.dumps({"holder": self.holder, "until": until}), 0)

    @staticmethod
    def _read(content: bytes) -> tuple[str, float]:
        try:
            found = orjson.loads(content)
            return str(found["holder"]), float(found["until"])
        except (ValueError, KeyError, TypeError):  # new, or its writer was killed in between
            return "", 0.0
