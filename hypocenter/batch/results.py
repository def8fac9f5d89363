"""Where results go, a folder or object storage: what a task found is there once the task is done, whole or not at all.

What a task found travels to the driver as files; workers need not see where results go.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from ..errors import SourceError
from ..tracer.store.places import is_remote, path_of, text_of
from ..tracer.store.remote import filesystem_of, put

Files = dict[str, bytes]
# What tasks leave lies in these; all else is of the whole pass.
_FOLDERS = ("hours", "alerts", "reports")
_DONE = "done"
_AT_ONCE = 8


def written(write: Callable[[Path], object]) -> Files:
    """Return the files that ``write`` leaves in a folder, by their path in it."""
    with tempfile.TemporaryDirectory(prefix="hypocenter-") as name:
        write(Path(name))
        found = sorted(path for path in Path(name).rglob("*") if path.is_file())
        return {path.relative_to(name).as_posix(): path.read_bytes() for path in found}


class Results:
    """The results at a place, of this pass and of earlier ones; names are paths below it.

    Parameters
    ----------
    place
        A folder, its ``file://`` URL, or ``s3://bucket/prefix``; made when it is absent.

    Raises
    ------
    SourceError
        From every method: the place cannot be read or written (retryable).
    """

    def __init__(self, place: Path | str) -> None:
        self.place = text_of(place).rstrip("/")
        self._is_remote = is_remote(place)
        if self._is_remote:
            self._storage, self._root = filesystem_of(self.place)
        else:
            self._storage, self._root = pafs.LocalFileSystem(), str(path_of(place).absolute())
        with self._answering("read"):
            self._names = {name for folder in _FOLDERS for name in self._listed(folder)}

    def is_done(self, folder: str) -> bool:
        """Tell whether ``folder``, which is named by all that a task depends on, holds all that it found."""
        return f"{folder}/{_DONE}" in self._names

    def publish(
        self, files: Mapping[str, bytes], folder: str, replaced: Sequence[str] = (), is_final: bool = True
    ) -> None:
        """Put what a task found, in place of all names that begin with one of ``replaced``.

        Nothing replaced counts as done any more before the first file is put, and ``folder`` does once all are there;
        not so what is not final: the task will be asked again.
        """
        older = {name for name in self._names if name.startswith((f"{folder}/", *replaced))}
        marks = {name for name in older if name.endswith(f"/{_DONE}")}
        self._remove(marks)
        for name, content in files.items():
            self.put(name, content)
        self._remove(older - marks - set(files))
        if is_final:
            self.put(f"{folder}/{_DONE}", b"")

    def put(self, name: str, content: bytes) -> None:
        """Put a file; it appears whole, and replaces one of its name."""
        path = f"{self._root}/{name}"
        with self._answering("write"):
            if self._is_remote:
                put(self._storage, path, content)
            else:
                folder, _, last = path.rpartition("/")
                self._storage.create_dir(folder, recursive=True)
                put(self._storage, f"{folder}/.{last}.partial", content)
                self._storage.move(f"{folder}/.{last}.partial", path)
        self._names.add(name)

    def read(self, names: Sequence[str]) -> list[bytes]:
        """Return the content of files, in their order."""
        with self._answering("read"), ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._content, names))

    def _content(self, name: str) -> bytes:
        with self._storage.open_input_file(f"{self._root}/{name}") as file:
            content: bytes = file.read()
            return content

    def _listed(self, folder: str) -> list[str]:
        selector = pafs.FileSelector(f"{self._root}/{folder}", recursive=True, allow_not_found=True)
        files = [info.path for info in self._storage.get_file_info(selector) if info.is_file]
        return [path.removeprefix(f"{self._root}/") for path in files]

    def _remove(self, names: set[str]) -> None:
        with self._answering("write"):
            for name in sorted(names):
                self._storage.delete_file(f"{self._root}/{name}")
        self._names -= names

    @contextmanager
    def _answering(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0][:300]
            raise SourceError(f"{self.place}: cannot {verb} the results: {reason}", retryable=True) from error
