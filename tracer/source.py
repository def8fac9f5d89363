"""Where bytes come from: files, folders and standard input, gzip and zstd undone."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from hypocenter.errors import SourceError

HEAD_BYTES = 64 * 1024
# A first span may carry a stack trace or a document of megabytes before the keys that tell its format.
LONG_HEAD_BYTES = 8 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PACKED = {".gz", ".gzip", ".zst", ".zstd"}
# A run of equal bytes packs 30,000 to 1: small bites keep what one bite unpacks to in bounds.
_ZSTD_BITE = 4 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """Decompressed bytes under a name: ``name`` says the place in messages.

    ``time_ns`` is the time of items whose format carries none (nanoseconds since the epoch), None when unknown.
    """

    name: str
    stream: io.BufferedReader
    time_ns: int | None = None

    @property
    def file_name(self) -> str:
        """The last part of the name without the endings of compression: ``a/b.json.gz`` is ``b.json``."""
        last = Path(self.name)
        return last.stem if last.suffix in _PACKED else last.name

    def head(self, size: int = HEAD_BYTES) -> bytes:
        """Return the first ``size`` bytes (at most 8 MiB), or all of a shorter source, without consuming them.

        Asked before reading.
        """
        return self.stream.peek(size)[:size]

    @property
    def damage(self) -> str | None:
        """Why the bytes ended early (a cut archive, a bad disk), None if they did not; what came before was read."""
        raw = self.stream.raw
        return raw.damage if isinstance(raw, _WholeReads) else None


@contextmanager
def open_source(
    path: Path | str, *, on_bytes: Callable[[int], None] | None = None, time_ns: int | None = None
) -> Iterator[Source]:
    """Yield the source of a file, or of standard input for ``-``; compression is told by content.

    ``on_bytes`` hears how many bytes of the file itself were read. Raises SourceError for a file that does not exist or
    cannot be opened.
    """
    name = str(path)
    try:
        raw: BinaryIO = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror or error}; check the path and its permissions") from error
    try:
        yield Source("stdin" if name == "-" else name, decompressed(raw, on_bytes), time_ns)
    finally:
        if name != "-":
            raw.close()


def decompressed(raw: BinaryIO, on_bytes: Callable[[int], None] | None = None) -> io.BufferedReader:
    """Return ``raw`` with gzip or zstd undone as it is read; other content passes unchanged.

    ``on_bytes`` hears how many bytes of ``raw`` were read.
    """
    buffered = io.BufferedReader(_Counted(raw, on_bytes or (lambda count: None)), HEAD_BYTES)
    magic = buffered.peek(4)[:4]
    plain: BinaryIO = buffered
    if magic.startswith(_GZIP):
        plain = cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    elif magic == _ZSTD:
        plain = cast(BinaryIO, io.BufferedReader(_Zstd(cast(BinaryIO, buffered)), HEAD_BYTES))
    return io.BufferedReader(_WholeReads(plain), LONG_HEAD_BYTES)


class _Counted(io.RawIOBase):
    """Tells how many bytes pass."""

    def __init__(self, raw: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._raw, self._on_bytes = raw, on_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        chunk = self._raw.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._on_bytes(len(chunk))
        return len(chunk)


class _WholeReads(io.RawIOBase):
    """Fills every buffer to its end, so that one peek sees a whole head; a broken stream ends where it breaks."""

    def __init__(self, plain: BinaryIO) -> None:
        self._plain = plain
        self.damage: str | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        filled = 0
        while filled < len(buffer) and self.damage is None:
            try:
                # What a read that breaks had undone is lost, so each is small.
                chunk = self._plain.read(min(len(buffer) - filled, HEAD_BYTES))
            except (EOFError, OSError, zlib.error) as error:
                self.damage = str(error) or type(error).__name__
                break
            if not chunk:
                break
            buffer[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        return filled


class _Zstd(io.RawIOBase):
    """Undoes zstd frame by frame; a frame that does not end raises EOFError, which the library's own reader hides."""

    def __init__(self, packed: BinaryIO) -> None:
        import zstandard

        self._packed, self._library = packed, zstandard
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._ready = memoryview(b"")
        self._inside = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            bite = self._packed.read(_ZSTD_BITE)
            if not bite:
                if self._inside:
                    raise EOFError("the last zstd frame does not end")
                return 0
            self._ready = memoryview(self._unpack(bite))
        taken = self._ready[: len(buffer)]
        buffer[: len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return len(taken)

    def _unpack(self, bite: bytes) -> bytes:
        parts = []
        while bite:
            self._inside = True
            try:
                parts.append(self._frame.decompress(bite))
            except self._library.ZstdError as error:
                raise EOFError(f"broken zstd frame: {error}") from error
            bite = b""
            if self._frame.eof:
                bite = self._frame.unused_data
                self._frame = self._library.ZstdDecompressor().decompressobj()
                self._inside = False
        return b"".join(parts)


def walk(paths: Iterable[Path | str]) -> list[str]:
    """Return the files named by ``paths`` in a fixed order: folders are walked, hidden files and folders skipped.

    ``-`` stays standard input. A path that does not exist stays in the list, so that opening it names it.
    """
    found: dict[str, None] = {}
    for path in paths:
        place = Path(path)
        if str(path) != "-" and place.is_dir():
            inside = (p for p in sorted(place.rglob("*")) if p.is_file())
            shown = (p for p in inside if not any(part.startswith(".") for part in p.relative_to(place).parts))
            found |= dict.fromkeys(str(p) for p in shown)
        else:
            found[str(path)] = None
    return list(found)
