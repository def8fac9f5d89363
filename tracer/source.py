"""Where bytes come from: files, folders and standard input, gzip and zstd undone."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from hypocenter.errors import SourceError

HEAD_BYTES = 64 * 1024
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PACKED = {".gz", ".gzip", ".zst", ".zstd"}


@dataclass(frozen=True, slots=True)
class Source:
    """Decompressed bytes under a name: ``name`` says the place in messages, ``stem`` is its file name unpacked."""

    name: str
    stream: io.BufferedReader

    @property
    def file_name(self) -> str:
        """The last part of the name without the endings of compression: ``a/b.json.gz`` is ``b.json``."""
        last = Path(self.name)
        return last.stem if last.suffix in _PACKED else last.name

    def head(self) -> bytes:
        """Return up to 64 KiB from the beginning without consuming them."""
        return self.stream.peek(HEAD_BYTES)[:HEAD_BYTES]


@contextmanager
def open_source(path: Path | str) -> Iterator[Source]:
    """Yield the source of a file, or of standard input for ``-``; compression is told by content.

    Raises SourceError for a file that does not exist or cannot be opened.
    """
    name = str(path)
    try:
        raw: BinaryIO = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror or error}; check the path and its permissions") from error
    try:
        yield Source("stdin" if name == "-" else name, decompressed(raw))
    finally:
        if name != "-":
            raw.close()


def decompressed(raw: BinaryIO) -> io.BufferedReader:
    """Return ``raw`` with gzip or zstd undone as it is read; other content passes unchanged."""
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, raw))
    magic = buffered.peek(4)[:4]
    if magic.startswith(_GZIP):
        plain: io.RawIOBase = cast(io.RawIOBase, gzip.GzipFile(fileobj=buffered))
    elif magic == _ZSTD:
        import zstandard

        plain = cast(io.RawIOBase, zstandard.ZstdDecompressor().stream_reader(buffered, read_across_frames=True))
    else:
        return io.BufferedReader(cast(io.RawIOBase, buffered), HEAD_BYTES)
    return io.BufferedReader(plain, HEAD_BYTES)


def walk(paths: Iterable[Path | str]) -> list[str]:
    """Return the files named by ``paths`` in a fixed order: folders are walked, hidden files and folders skipped.

    ``-`` stays standard input. A path that does not exist stays in the list, so that opening it names it.
    """
    found: dict[str, None] = {}
    for path in paths:
        place = Path(path)
        if str(path) != "-" and place.is_dir():
            inside = (p for p in sorted(place.rglob("*")) if p.is_file())
            hidden = (p for p in inside if not any(part.startswith(".") for part in p.relative_to(place).parts))
            found |= dict.fromkeys(str(p) for p in hidden)
        else:
            found[str(path)] = None
    return list(found)
