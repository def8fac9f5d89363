"""A store on object storage: what is put there is durable and visible whole, and is read as any store.

Layout and records are those of a local store. A segment that is appended lies in the partition of its hour, where its
one PUT makes it visible. What replaces others, or is copied from elsewhere (`hypocenter.tracer.store.copy`), lies where
only a record makes it visible, which is put last.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from hypocenter.errors import SourceError

from ..batch import Batch
from ..schema import SIGNALS
from ..window import Window
from . import changes
from .durable import unique_name
from .partitions import partition
from .places import SCHEME, is_remote, text_of
from .segment import SUFFIX, Segment, conform, footers, write
from .store import FORMAT, MARKER, Store

_AT_ONCE = 8


def filesystem_of(url: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of an ``s3://bucket/prefix`` URL and the path in it.

    Endpoint, region and credentials are those of the environment, as for any client of S3: ``AWS_ENDPOINT_URL``,
    ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, or the machine's own role. They are read here, and
    not on the command line, since workers of a cluster have theirs.
    """
    path = url.removeprefix(SCHEME).rstrip("/")
    # What fits into a buffer is one PUT; a larger object is sent in parts, and appears whole all the same.
    options: dict[str, Any] = {"region": os.environ.get("AWS_REGION", "us-east-1"), "allow_delayed_open": True}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, host = endpoint.partition("://")
        options |= {"endpoint_override": host.rstrip("/"), "scheme": scheme}
    return pafs.S3FileSystem(**options), path


def located(paths: Sequence[Path | str]) -> tuple[list[str], pafs.FileSystem | None]:
    """Return files as the file system of all of them knows them, and that one, None being this machine's."""
    texts = [str(path) for path in paths]
    if not texts or not is_remote(texts[0]):
        return texts, None
    return [text.removeprefix(SCHEME) for text in texts], filesystem_of(texts[0])[0]


class RemoteStore(Store):
    """A store on object storage, which many processes may write and read at once.

    Parameters
    ----------
    url
        ``s3://bucket/prefix``.
    create, sample
        As of `hypocenter.tracer.store.Store`.

    Raises
    ------
    SourceError
        There is no store, or the storage does not answer (retryable).
    """

    def __init__(self, url: str, create: bool = False, *, sample: int = 1) -> None:
        self.url = url.rstrip("/")
        self.storage, path = filesystem_of(url)
        self.filesystem = self.storage
        self._records: dict[str, changes.Change] = {}
        self._create_marker = create
        super().__init__(path, sample=sample)

    def __str__(self) -> str:
        """Return the URL."""
        return self.url

    @property
    def place(self) -> str:
        """The URL."""
        return self.url

    def append(
        self,
        batch: Batch,
        *,
        name: str | None = None,
        arrived_ns: int | None = None,
        digest: str | None = None,
        last: bool = False,
    ) -> list[Segment]:
        """Put a segment for each signal that has rows; each is durable and visible whole on return.

        As `hypocenter.tracer.store.Store.append`, but for ``name``, ``digest`` and ``last``: what makes files come once
        needs a disk.

        Raises
        ------
        SourceError
            The storage does not take it (retryable); nothing new is visible, unless it took it and did not say so.
        """
        if name is not None or digest is not None or last:
            raise SourceError(f"{self}: takes no files; read them into a folder and copy it: hypocenter store copy")
        arrived = time.time_ns() if arrived_ns is None else arrived_ns
        unique = unique_name(arrived)
        written: list[Segment] = []
        try:
            for signal in SIGNALS:
                if batch.table(signal).num_rows:
                    path = self.path / signal / partition(arrived) / f"{unique}{SUFFIX}"
                    written.append(self.put_segment(path, signal, batch.table(signal)))
        except SourceError:
            for segment in written:
                with contextlib.suppress(OSError):
                    self.storage.delete_file(str(segment.path))
            raise
        return written

    def put_segment(self, path: Path, signal: str, table: pa.Table) -> Segment:
        """Put rows as one object; what makes it visible is where it lies."""
        content = pa.BufferOutputStream()
        segment = write(path, signal, conform(signal, table), {}, content)
        with answering(self.url):
            put(self.storage, str(path), content.getvalue())
        return segment

    def _listed(self, signal: str) -> list[Segment]:
        files, records = self.listed(signal)
        removed = changes.removed_names(records)
        root = f"{self.path}/{signal}"
        visible = [f"{root}/{path}" for record in records for path in record.adds]
        visible += [path for path in files if path.startswith(f"{root}/date=") and path.endswith(SUFFIX)]
        known = [path for path in visible if path in files and path.rpartition("/")[2] not in removed]
        self._problems |= {path: "cannot be found" for path in visible if path not in files}
        keys = [(path, files[path].size, files[path].mtime_ns or 0) for path in known]
        found: dict[str, Segment] = {}
        for path, segment in footers(f"{self.url}/{signal}", keys, signal, self._metadata):
            if isinstance(segment, str):
                self._problems[path] = segment
            else:
                found[segment.name] = segment
        return [found[name] for name in sorted(found)]

    def listed(self, signal: str) -> tuple[dict[str, pafs.FileInfo], list[changes.Change]]:
        """Return the objects of a signal by path, and the records that count, in the order in which they came.

        Records come first in a listing, so a change that is put meanwhile is not seen at all, and what it replaces is
        still there. Two that replace the same segment were made beside each other; the first counts.
        """
        root = f"{self.path}/{signal}"
        with answering(self.url):
            listed = self.storage.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
        files = {info.path: info for info in listed if info.is_file}
        there = [path for path in files if path.startswith(f"{root}/{changes.FOLDER}/")]
        there.sort(key=lambda path: (files[path].mtime_ns or 0, path))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self._records |= zip(there, pool.map(self._record, there), strict=True)
        counting: list[changes.Change] = []
        replaced: set[str] = set()
        for path in there:
            record = self._records[path]
            if replaced.isdisjoint(record.removes):
                counting.append(record)
                replaced.update(record.removes)
        return files, counting

    def paths(self, signal: str, window: Window | None = None) -> list[str]:
        """Return the URLs of `segments`."""
        return [f"{SCHEME}{segment.path}" for segment in self.segments(signal, window)]

    def _check_marker(self) -> None:
        with answering(self.url):
            is_there = self.storage.get_file_info(f"{self.path}/{MARKER}").is_file
            if not is_there and self._create_marker:
                put(self.storage, f"{self.path}/{MARKER}", json.dumps(FORMAT).encode())
            elif not is_there:
                raise SourceError(
                    f"{self.url}: not a hypocenter store; copy one there: hypocenter store copy DIR {self.url}"
                )

    def _record(self, path: str) -> changes.Change:
        if path in self._records:
            return self._records[path]
        with answering(self.url), self.storage.open_input_file(path) as file:
            content = json.loads(file.read())
        name = path.rpartition("/")[2]
        return changes.Change(name, content["at_ns"], *(tuple(content[key]) for key in ("adds", "removes")))

    def _metadata(self, path: str) -> pq.FileMetaData:
        with self.storage.open_input_file(path) as file:
            return pq.read_metadata(file)


def store_at(place: Path | str, create: bool = False, *, sample: int = 1) -> Store:
    """Return the store in a folder (also ``file://``) or on object storage, as the text says."""
    if is_remote(place):
        return RemoteStore(text_of(place), create, sample=sample)
    return Store(place, create, sample=sample)


def put(storage: pafs.FileSystem, path: str, content: bytes | pa.Buffer) -> None:
    """Put an object; it appears whole."""
    with storage.open_output_stream(path) as stream:
        stream.write(content)


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Raise what storage answers to that as SourceError (retryable)."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{url}: {str(error).splitlines()[0][:300]}", retryable=True) from error
