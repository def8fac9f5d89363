"""A disk that keeps only what was synced: a file's bytes by its own fsync, names by that of their folder."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from pathlib import Path


def install(root: Path) -> None:
    """Let every fsync in this process below ``root`` be noted beside it; the disk of a power cut is `image`."""
    kept = _kept(root)
    (kept / "content").mkdir(parents=True, exist_ok=True)
    (kept / "names").mkdir(exist_ok=True)
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        with (kept / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fsync(descriptor)
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                names = {
                    entry.name: [entry.inode(), entry.is_dir()] for entry in os.scandir(f"/proc/self/fd/{descriptor}")
                }
                _write(kept / "names" / str(status.st_ino), json.dumps(names).encode())
            else:
                content = Path(f"/proc/self/fd/{descriptor}").read_bytes()
                _write(kept / "content" / str(status.st_ino), content)

    os.fsync = noting


def image(root: Path, target: Path) -> None:
    """Write what a power cut would leave of ``root``: an unsynced name is gone, an unsynced content empty."""
    _restore(_kept(root), root.stat().st_ino, target)


def _kept(root: Path) -> Path:
    return root.parent / "synced"


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _restore(kept: Path, inode: int, target: Path) -> None:
    target.mkdir()
    names = kept / "names" / str(inode)
    for name, (inner, is_folder) in json.loads(names.read_bytes() if names.exists() else b"{}").items():
        if is_folder:
            _restore(kept, inner, target / name)
        elif (kept / "content" / str(inner)).exists():
            shutil.copyfile(kept / "content" / str(inner), target / name)
        else:
            (target / name).touch()
