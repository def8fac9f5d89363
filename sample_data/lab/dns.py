"""The name server of the lab: a service's name to the address of one of its ready pods, another one each time.

It is a process of its own, so that names are resolved in time whatever the recorder does.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

_PORT = 53
_OK, _FAILURE, _UNKNOWN = 0, 2, 3
_ROOT = Path(__file__).resolve().parents[2]


class NameServer:
    """Answers A queries from what it is told; ``broken`` holds the addresses of clients that get SERVFAIL."""

    def __init__(self, host: str) -> None:
        self.broken: set[str] = set()
        self._host, self._told = host, ""

    def __enter__(self) -> NameServer:
        command = [sys.executable, "-m", f"{__package__}.dns", self._host]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        if not self._process.stdout or self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the lab's name server did not start on {self._host}")
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(10)

    def tell(self, zone: Mapping[str, Sequence[str]]) -> None:
        """Say which addresses each name has, and who is answered at all."""
        told = json.dumps({"zone": zone, "broken": sorted(self.broken)}) + "\n"
        if told != self._told and self._process.stdin:
            self._process.stdin.write(told)
            self._process.stdin.flush()
            self._told = told


class _Answers:
    """What is known now; replaced as a whole, read by another thread."""

    def __init__(self) -> None:
        self.known: tuple[Mapping[str, Sequence[str]], frozenset[str]] = ({}, frozenset())
        self._turn = count()

    def to(self, query: bytes, client: str) -> bytes:
        zone, broken = self.known
        name, end = _name(query)
        (kind,) = struct.unpack_from(">H", query, end)
        addresses = zone.get(name.lower(), ())
        code = _FAILURE if client in broken else _OK if addresses else _UNKNOWN
        answers = b""
        if code == _OK and kind == 1:
            chosen = addresses[next(self._turn) % len(addresses)]
            answers = struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(chosen)
        head = query[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(answers) > 0, 0, 0)
        return head + query[12 : end + 4] + answers


def _name(query: bytes) -> tuple[str, int]:
    """Return the name asked for and where its record goes on."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels), at + 1


def serve(host: str) -> None:
    """Answer on ``host`` what standard input tells, a JSON line each time, until it ends."""
    answers = _Answers()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind((host, _PORT))

        def listen() -> None:
            for line in sys.stdin:
                told = json.loads(line)
                answers.known = told["zone"], frozenset(told["broken"])
            # Its lab has ended, however it did.
            os._exit(0)

        threading.Thread(target=listen, daemon=True).start()
        print("ready", flush=True)
        while True:
            query, client = door.recvfrom(512)
            door.sendto(answers.to(query, client[0]), client)


if __name__ == "__main__":
    serve(sys.argv[1])
