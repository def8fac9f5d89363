"""Bodies of HTTP requests: read within bounds of size and time, gzip undone within them too."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from .intake import Intake

_INLINE_BYTES: Final = 64 * 1024
# One is usual; unpacking costs a copy of the rest for each.
_MEMBERS: Final = 16
_GZIP: Final = 16 + zlib.MAX_WBITS
Receive = Callable[[], Any]


class TooLarge(Exception):
    """The body exceeds the limit, before or after decompression."""


class Unsupported(Exception):
    """The body's encoding is not one that we undo."""


class Broken(Exception):
    """The body is not what its encoding says, or ended early."""


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], intake: Intake, *, limit: int, timeout_s: float
) -> bytes:
    """Return the decompressed body.

    Its bytes are held against the queue's bound while they come in, so that many slow senders do not fill the memory.
    Raises TooLarge, Unsupported, Broken, Overloaded, or TimeoutError for a sender that is too slow.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"gzip", b"identity", b""):
        raise Unsupported(f"content-encoding {encoding[:40]!r}: expected gzip or none")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > limit:
        raise TooLarge
    held = 0
    parts = []
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Broken("the connection ended before the body")
                part = message.get("body", b"")
                if held + len(part) > limit:
                    raise TooLarge
                if part:
                    intake.reserve(len(part))
                    held += len(part)
                    parts.append(part)
                if not message.get("more_body"):
                    break
        body = b"".join(parts)
        if encoding != b"gzip" or not body:
            return body
        if len(body) < _INLINE_BYTES:
            return _unpacked(body, limit)
        return await asyncio.to_thread(_unpacked, body, limit)
    finally:
        intake.release(held)


def _unpacked(body: bytes, limit: int) -> bytes:
    """Return the members of a gzip body, one after the other; no more than the limit is ever unpacked."""
    parts: list[bytes] = []
    left = limit
    while body:
        if len(parts) == _MEMBERS:
            raise Broken(f"gzip of more than {_MEMBERS} members")
        unpacker = zlib.decompressobj(_GZIP)
        try:
            part = unpacker.decompress(body, left + 1)
        except zlib.error as error:
            raise Broken(f"not gzip: {error}") from None
        if len(part) > left:
            raise TooLarge
        if not unpacker.eof:
            raise Broken("the gzip body is cut short")
        left -= len(part)
        parts.append(part)
        body = unpacker.unused_data
    return b"".join(parts)
