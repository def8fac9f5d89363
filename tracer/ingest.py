"""Files into the store: each read once, what is broken named and counted, the rest stored."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, cast

from hypocenter.errors import DecodeError, SourceError

from .batch import Batch, Tally
from .detect import decode, detect
from .privacy import Privacy
from .reader import Reader
from .source import Source, decompressed, walk
from .store import Store

_CHUNK_BYTES = 1 << 20
STDIN_LIMIT_BYTES = 4 << 30

Outcome = Literal["added", "already-there", "failed"]


@dataclass(slots=True)
class FileResult:
    """What became of one file: its format (None: not recognised), and its tally as far as it was read."""

    path: str
    format: str | None = None
    outcome: Outcome = "added"
    tally: Tally = field(default_factory=Tally)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The results in the order in which the files were read."""

    files: list[FileResult]

    @property
    def failed(self) -> int:
        """Number of files that could not be read to their end."""
        return sum(file.outcome == "failed" for file in self.files)

    @property
    def tally(self) -> Tally:
        """The tallies of all files added."""
        total = Tally()
        for file in self.files:
            total.add(file.tally)
        return total


def ingest(
    paths: Iterable[Path | str],
    store: Store,
    on_bytes: Callable[[int], None] | None = None,
    *,
    time_ns: int | None = None,
    privacy: Privacy | None = None,
    reader: Reader | None = None,
) -> Summary:
    """Read files, folders and standard input (``-``) into ``store`` and return what became of each file.

    Parameters
    ----------
    paths
        Folders are walked; hidden files and the store's own are skipped.
    store
        Where the rows go. A file whose bytes are there already adds nothing; one that was cut short by a kill is
        completed, for its segments are named by its digest.
    on_bytes
        Hears how many bytes of the files themselves were dealt with.
    time_ns
        The time of items whose format carries none; None drops them, counted.
    privacy
        What is not stored; None is the default masks.
    reader
        Reads every file (`mapping.read_map`); None tells the format of each by its content.

    Raises
    ------
    SourceError
        The store cannot be written, or standard input is too long to spool. A file that cannot be read is a result
        with outcome failed, and the rest goes in.
    """
    heard = on_bytes or (lambda count: None)
    rules = privacy or Privacy()
    own = store.path.resolve()
    # The folder that is walked may hold the store itself.
    files = [path for path in walk(paths) if path == "-" or not Path(path).resolve().is_relative_to(own)]
    return Summary([_ingest_file(path, store, heard, time_ns, rules, reader) for path in files])


def _ingest_file(
    path: str,
    store: Store,
    on_bytes: Callable[[int], None],
    time_ns: int | None,
    privacy: Privacy,
    reader: Reader | None,
) -> FileResult:
    result = FileResult("stdin" if path == "-" else path)
    try:
        file = _spooled(store) if path == "-" else Path(path).open("rb")  # noqa: SIM115  closed below
    except OSError as error:
        result.outcome, result.error = (
            "failed",
            f"{path}: {error.strerror or error}; check the path and its permissions",
        )
        return result
    with file:
        digest = _digest(file)
        if store.is_complete(digest):
            on_bytes(file.tell())
            result.outcome = "already-there"
            return result
        file.seek(0)
        source = Source(result.path, decompressed(file, on_bytes), time_ns)
        try:
            reader = reader or detect(source)
            result.format = reader.NAME
            _append_all(map(privacy.apply, decode(source, reader)), store, digest, result.tally)
        except DecodeError as error:
            result.outcome, result.error = "failed", str(error)
    return result


def _digest(file: BinaryIO) -> str:
    digest = hashlib.blake2b()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _spooled(store: Store) -> BinaryIO:
    """Return standard input as a file without a name in the store's folder: its digest is needed before its rows."""
    spool = tempfile.TemporaryFile(dir=store.path)  # noqa: SIM115  the caller closes it
    size = 0
    while chunk := sys.stdin.buffer.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > STDIN_LIMIT_BYTES:
            spool.close()
            raise SourceError(f"stdin: more than {STDIN_LIMIT_BYTES >> 30} GiB; write it to a file and ingest that")
        spool.write(chunk)
    spool.seek(0)
    return cast(BinaryIO, spool)


def _append_all(batches: Iterable[Batch], store: Store, digest: str, tally: Tally) -> None:
    """Append what has rows, one batch behind, so that the last says that it is the last."""
    held: Batch | None = None
    part = 0
    for batch in batches:
        tally.add(batch.tally)
        if not batch.rows:
            continue
        if held is not None:
            store.append(held, name=f"{digest[:16]}-{part:06d}", digest=digest)
            part += 1
        held = batch
    store.append(held or Batch(), name=f"{digest[:16]}-{part:06d}", digest=digest, last=True)
