"""What a task found, as files that travel to the driver: workers need not see where results go."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs

from ..errors import SourceError
from ..tracer.store.remote import filesystem_of, is_remote

Files = dict[str, bytes]


def written(write: Callable[[Path], object]) -> Files:
    """Return the files that ``write`` leaves in a folder, by their path in it."""
    with tempfile.TemporaryDirectory(prefix="hypocenter-") as name:
        write(Path(name))
        found = sorted(path for path in Path(name).rglob("*") if path.is_file())
        return {path.relative_to(name).as_posix(): path.read_bytes() for path in found}


def publish(files: Mapping[str, bytes], folder: Path) -> None:
    """Make ``folder`` hold these files, whole or not at all, in place of what it held."""
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in files.items():
            (staging / name).write_bytes(content)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def results_at(place: str) -> Iterator[Path]:
    """Yield a folder that holds what is at ``place``: itself, or a copy of an ``s3://`` URL, copied back at the end.

    What a pass that ends in an error wrote is copied back too, so that the next goes on from there.
    """
    if not is_remote(place):
        yield Path(place.removeprefix("file://"))
        return
    storage, path = filesystem_of(place)
    local = pafs.LocalFileSystem()
    with tempfile.TemporaryDirectory(prefix="hypocenter-") as name:
        _copy(storage, path, local, name, place)
        try:
            yield Path(name)
        finally:
            _copy(local, name, storage, path, place)


def _copy(source: pafs.FileSystem, here: str, target: pafs.FileSystem, there: str, place: str) -> None:
    """Copy the files that are absent or other in size; page and tables at the top always."""
    try:
        found = source.get_file_info(pafs.FileSelector(here, recursive=True, allow_not_found=True))
        sizes = {info.path.removeprefix(f"{here}/"): info.size for info in found if info.is_file}
        known = {info.path: info.size for info in target.get_file_info([f"{there}/{name}" for name in sizes])}
        for name, size in sorted(sizes.items()):
            if "/" not in name or known[f"{there}/{name}"] != size:
                if isinstance(target, pafs.LocalFileSystem):
                    Path(there, name).parent.mkdir(parents=True, exist_ok=True)
                with (
                    source.open_input_file(f"{here}/{name}") as file,
                    target.open_output_stream(f"{there}/{name}") as sink,
                ):
                    sink.write(file.read())
    except OSError as error:
        raise SourceError(f"{place}: {str(error).splitlines()[0][:300]}", retryable=True) from error
