"""The name server of the lab: a service's name to the address of one of its ready pods, another one each time.

It is a process of its own, so that names are resolved in time whatever the recorder does.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ..processes import Processes
from .environment import ROOT
from .service.json_file import JsonFile, write

_PORT = 53
_OK, _FAILURE, _UNKNOWN = 0, 2, 3


class NameServer:
    """Answers A queries from what it is told; ``broken`` holds the addresses of clients that get SERVFAIL."""

    def __init__(self, processes: Processes, folder: Path, host: str) -> None:
        self.broken: set[str] = set()
        self._file = folder / "names.json"
        self._told: dict[str, Any] = {}
        self.tell({})
        command = [sys.executable, "-m", f"{__package__}.dns", host, str(self._file)]
        processes.start("names", command, env={"PYTHONPATH": str(ROOT)})

    def tell(self, zone: Mapping[str, Sequence[str]]) -> None:
        """Say which addresses each name has, and who is answered at all."""
        told = {"zone": dict(zone), "broken": sorted(self.broken)}
        if told != self._told:
            write(self._file, told)
            self._told = told


def serve(host: str, file: str) -> None:
    """Answer on ``host`` what ``file`` tells, until this process is ended."""
    told, turn = JsonFile(file), count()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind((host, _PORT))
        while True:
            query, client = door.recvfrom(512)
            door.sendto(_answer(query, client[0], told.value, turn), client)


def _answer(query: bytes, client: str, told: Mapping[str, Any], turn: Iterator[int]) -> bytes:
    name, end = _name(query)
    (kind,) = struct.unpack_from(">H", query, end)
    addresses = told["zone"].get(name.lower(), ())
    code = _FAILURE if client in told["broken"] else _OK if addresses else _UNKNOWN
    answers = b""
    if code == _OK and kind == 1:
        chosen = addresses[next(turn) % len(addresses)]
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


if __name__ == "__main__":
    serve(*sys.argv[1:])
