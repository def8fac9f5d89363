"""A store on object storage: hours copied from a local store become visible by one PUT each, and are read as any store.

Layout and records are those of a local store. Files lie where only a record makes them visible, and an hour of arrival
has one record, which is put last and named after its store and hour: an hour is there whole or not at all, and is never
there twice, whatever is cut and run again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from hypocenter.errors import SourceError

from ..schema import SIGNALS
from ..window import HOUR_NS, Window, to_rfc3339
from . import changes
from .segment import COMPACTED, SUFFIX, Segment, footers
from .store import MARKER, Store

_SCHEME = "s3://"


def is_remote(place: Path | str) -> bool:
    """Tell whether ``place`` is a URL of object storage."""
    return str(place).startswith(_SCHEME)


def filesystem_of(url: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of an ``s3://bucket/prefix`` URL and the path in it.

    Endpoint, region and credentials are those of the environment, as for any client of S3: ``AWS_ENDPOINT_URL``,
    ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, or the machine's own role. They are read here, and
    not on the command line, since workers of a cluster have theirs.
    """
    path = url.removeprefix(_SCHEME).rstrip("/")
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
    return [text.removeprefix(_SCHEME) for text in texts], filesystem_of(texts[0])[0]


class RemoteStore(Store):
    """A store that is read where it lies; rows come into it by `copy_hours`.

    Parameters
    ----------
    url
        ``s3://bucket/prefix``.
    sample
        As of `hypocenter.tracer.store.Store`.

    Raises
    ------
    SourceError
        There is no store, or the storage does not answer (retryable).
    """

    def __init__(self, url: str, *, sample: int = 1) -> None:
        self.url = url.rstrip("/")
        self._storage, path = filesystem_of(url)
        self.filesystem = self._storage
        self._records: dict[str, changes.Change] = {}
        super().__init__(path, sample=sample)

    @property
    def place(self) -> str:
        """The URL."""
        return self.url

    def append(self, *_: Any, **__: Any) -> list[Segment]:
        """Raise SourceError: collectors write to a local disk."""
        raise SourceError(f"{self.url}: is only read; collect into a local store and copy it: hypocenter store copy")

    def segments(self, signal: str, window: Window | None = None) -> list[Segment]:
        """Return the segments that may hold rows of ``window`` (None: all), sorted by name."""
        root = f"{self.path}/{signal}"
        with _answering(self.url):
            listed = self._storage.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
        files = {info.path: info for info in listed if info.is_file}
        records = [self._record(path) for path in sorted(files) if path.startswith(f"{root}/{changes.FOLDER}/")]
        removed = changes.removed_names(records)
        visible = [f"{root}/{path}" for record in records for path in record.adds]
        known = [path for path in visible if path in files and path.rpartition("/")[2] not in removed]
        self._problems |= {path: "cannot be found" for path in visible if path not in files}
        keys = [(path, files[path].size, files[path].mtime_ns or 0) for path in known]
        found: dict[str, Segment] = {}
        for path, segment in footers(keys, signal, self._metadata):
            if isinstance(segment, str):
                self._problems[path] = segment
            else:
                found[segment.name] = segment
        return [found[name] for name in sorted(found) if found[name].overlaps(window)]

    def paths(self, signal: str, window: Window | None = None) -> list[str]:
        """Return the URLs of `segments`."""
        return [f"{_SCHEME}{segment.path}" for segment in self.segments(signal, window)]

    def _check_marker(self) -> None:
        with _answering(self.url):
            info = self._storage.get_file_info(f"{self.path}/{MARKER}")
        if not info.is_file:
            raise SourceError(
                f"{self.url}: not a hypocenter store; copy one there: hypocenter store copy DIR {self.url}"
            )

    def _record(self, path: str) -> changes.Change:
        if path not in self._records:
            with _answering(self.url), self._storage.open_input_file(path) as file:
                content = json.loads(file.read())
            name = path.rpartition("/")[2]
            self._records[path] = changes.Change(
                name, content["at_ns"], *(tuple(content[k]) for k in ("adds", "removes"))
            )
        return self._records[path]

    def _metadata(self, path: str) -> pq.FileMetaData:
        with self._storage.open_input_file(path) as file:
            return pq.read_metadata(file)


def store_at(place: Path | str, *, sample: int = 1) -> Store:
    """Return the store in a folder (also ``file://``) or on object storage, as the text says."""
    text = str(place)
    return RemoteStore(text, sample=sample) if is_remote(text) else Store(text.removeprefix("file://"), sample=sample)


def copy_hours(
    store: Store, url: str, *, now_ns: int, progress: Callable[[str], None] = lambda _: None
) -> tuple[int, int]:
    """Copy the hours of arrival that are over to object storage; return how many were copied and their bytes.

    An hour that is there already is left alone. On return what was copied is durable there, and visible.
    """
    filesystem, root = filesystem_of(url)
    hours, size = 0, 0
    with _answering(url):
        if not filesystem.get_file_info(f"{root}/{MARKER}").is_file:
            _put(filesystem, f"{root}/{MARKER}", (store.path / MARKER).read_bytes())
        for signal in SIGNALS:
            of_hour: dict[int, list[Segment]] = {}
            for segment in store.segments(signal):
                of_hour.setdefault(segment.arrived_hour_ns, []).append(segment)
            for hour_ns, segments in sorted(of_hour.items()):
                name = f"{hour_ns:020d}-{_identity(store)}.json"
                record = f"{root}/{signal}/{changes.FOLDER}/{name}"
                if hour_ns + HOUR_NS > now_ns or filesystem.get_file_info(record).is_file:
                    continue
                progress(f"{signal} {to_rfc3339(hour_ns)}")
                adds = []
                for segment in segments:
                    adds.append(f"{COMPACTED}/{segment.name}{SUFFIX}")
                    content = segment.path.read_bytes()
                    _put(filesystem, f"{root}/{signal}/{adds[-1]}", content)
                    size += len(content)
                _put(filesystem, record, json.dumps({"at_ns": now_ns, "adds": adds, "removes": []}).encode())
                hours += 1
    return hours, size


def _identity(store: Store) -> str:
    """Return what tells the stores of several collectors apart that are copied to one place."""
    return hashlib.sha256(f"{os.uname().nodename}:{store.path.resolve()}".encode()).hexdigest()[:12]


def _put(filesystem: pafs.FileSystem, path: str, content: bytes) -> None:
    # An object appears whole when the stream is closed.
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)


@contextmanager
def _answering(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{url}: {str(error).splitlines()[0][:300]}", retryable=True) from error
