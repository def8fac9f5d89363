"""The name server of the lab: a service's name to the address of one of its ready pods, another one each time."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from itertools import count

_PORT = 53
_OK, _FAILURE, _UNKNOWN = 0, 2, 3


class NameServer:
    """Answers A queries from ``resolve``; ``broken`` holds the addresses of clients that get SERVFAIL."""

    def __init__(self, host: str, resolve: Callable[[str], list[str]]) -> None:
        self._resolve = resolve
        self._turn = count()
        self.broken: set[str] = set()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, _PORT))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                query, client = self._socket.recvfrom(512)
                self._socket.sendto(self._answer(query, client[0]), client)
            except OSError:
                return

    def _answer(self, query: bytes, client: str) -> bytes:
        name, end = _name(query)
        (kind,) = struct.unpack_from(">H", query, end)
        addresses = self._resolve(name.lower())
        code = _FAILURE if client in self.broken else _OK if addresses else _UNKNOWN
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
