"""Durable files: a name shows only a whole file, and what was acknowledged survives a power cut."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path

from hypocenter.errors import SourceError

# Space, quota, descriptors and a flaky disk come back; a wrong path or a read-only mount does not.
_PASSING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EAGAIN,
    errno.EINTR,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ENOENT,  # a folder that retention removed meanwhile is made again by the next try
}
_LEFTOVER_AGE_S = 3600.0


def sync(path: Path) -> None:
    """Force a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, root: Path) -> None:
    """Make ``folder`` below ``root`` so that it survives a power cut, whoever made its parents."""
    folder.mkdir(parents=True, exist_ok=True)
    for parent in folder.parents:
        sync(parent)
        if parent == root:
            return


def unique_name(time_ns: int) -> str:
    """Return a name that sorts by time and that no other writer takes."""
    return f"{time_ns:020d}-{os.getpid()}-{os.urandom(6).hex()}"


def publish(staged: Iterable[tuple[Path, Path]], *, undo: bool) -> None:
    """Give each staged and synced file its final name, then make the names durable.

    With ``undo`` the names are taken back when that fails, so that an unacknowledged file is not visible.
    """
    moved: list[Path] = []
    try:
        for temporary, final in staged:
            temporary.rename(final)
            moved.append(final)
        for folder in dict.fromkeys(final.parent for final in moved):
            sync(folder)
    except OSError:
        if undo:
            remove(moved)
        raise


def write_whole(path: Path, content: bytes, staging: Path) -> None:
    """Write a small file whole and durable; ``staging`` is a folder in the same file system."""
    temporary = staging / f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        temporary.write_bytes(content)
        sync(temporary)
        publish([(temporary, path)], undo=True)
    finally:
        remove([temporary])


def remove(paths: Iterable[Path]) -> None:
    """Remove files; one that is already gone is fine."""
    for path in paths:
        path.unlink(missing_ok=True)


def sweep(staging: Path) -> None:
    """Remove what killed writers left in ``staging`` more than an hour ago."""
    oldest = time.time() - _LEFTOVER_AGE_S
    with os.scandir(staging) as entries:
        for entry in entries:
            try:
                if entry.stat().st_mtime < oldest:
                    remove([Path(entry.path)])
            except FileNotFoundError:  # its writer, or another sweep, was faster
                continue


def source_error(what: str, error: OSError) -> SourceError:
    """Return the error of a failed read or write, retryable when the condition can pass by itself."""
    passing = error.errno in _PASSING
    remedy = (
        "this can pass: free space or mend the disk, then try again"
        if passing
        else "check the path and its permissions"
    )
    return SourceError(f"{what}: {error.strerror or error}; {remedy}", retryable=passing)
