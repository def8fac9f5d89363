"""The store: append-only segments, by signal and hour of arrival, that many processes may write and read at once."""

from __future__ import annotations

import copy
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.fs as pafs

from hypocenter.errors import SourceError

from ..batch import Batch, unique_series
from ..schema import SCHEMA_VERSION, SIGNALS
from ..window import Window
from . import changes, durable
from .hours import HeldHours
from .partitions import hour_folders, partition
from .places import is_remote, path_of, text_of
from .reading import batches_in, rows_in
from .segment import SUFFIX, Segment, conform, describe, write

if TYPE_CHECKING:
    import pyarrow.compute as pc

MARKER = "hypocenter-store.json"
_FORMAT_VERSION = 1
FORMAT = {"format": "hypocenter-store", "format_version": _FORMAT_VERSION, "schema_version": SCHEMA_VERSION}
_STAGING, _SOURCES = "tmp", "sources"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]{0,199}")
_SWEEP_EVERY_S = 3600.0
# What a listing names stays for an hour after it was replaced (`hypocenter.tracer.store.compact.GRACE_NS`).
_LISTED_FOR_S = 600.0


class Store:
    """A folder of segments: ``<signal>/date=YYYY-MM-DD/hour=HH/<name>.parquet`` by hour of arrival (UTC).

    Parameters
    ----------
    path
        The folder, or its ``file://`` URL.
    create
        Make a store of a folder that is absent or empty.
    sample
        Rollups are made of one trace in so many, for stores whose every trace would cost too much; rows are read as
        they are.

    Raises
    ------
    SourceError
        The folder is no store, was made by a newer version, or cannot be read; or it is a URL of another machine.
    """

    # Where segments lie; None is this machine (`hypocenter.tracer.store.remote`).
    filesystem: pafs.FileSystem | None = None

    def __init__(self, path: Path | str, create: bool = False, *, sample: int = 1) -> None:
        if sample < 1:
            raise ValueError(f"expected one trace in 1 or more, got {sample}")
        if is_remote(path):
            remedy = f"write to a folder, then copy it there: hypocenter store copy FOLDER {text_of(path)}"
            raise SourceError(f"{text_of(path)}: expected a folder; {remedy}")
        self.path, self.sample = path_of(path), sample
        self._durable_folders: set[Path] = set()
        self._problems: dict[str, str] = {}
        self._swept_at = float("-inf")
        self._hours = HeldHours()
        self._listings: dict[str, tuple[float, list[Segment]]] | None = None
        try:
            if create and not (self.path / MARKER).exists():
                self._create()
            self._check_marker()
        except OSError as error:
            raise durable.source_error(str(self.path), error) from error

    def __str__(self) -> str:
        """Return the path as it was given."""
        return str(self.path)

    @property
    def place(self) -> str:
        """Where the store is, as any process may open it (`hypocenter.tracer.store.remote.store_at`)."""
        return str(self.path.absolute())

    @property
    def problems(self) -> list[str]:
        """The segments that were skipped so far and why, a line each, sorted by path."""
        return [f"{path}: {reason}" for path, reason in sorted(self._problems.items())]

    def append(
        self,
        batch: Batch,
        *,
        name: str | None = None,
        arrived_ns: int | None = None,
        digest: str | None = None,
        last: bool = False,
    ) -> list[Segment]:
        """Write a segment for each signal that has rows; each is durable and visible whole on return.

        Parameters
        ----------
        batch
            Tables in the schemas of `hypocenter.tracer.schema`.
        name
            Makes the call idempotent: a segment of this signal and name that exists is left alone and not returned.
            None makes a unique name that sorts by time.
        arrived_ns
            When the rows came, nanoseconds since the epoch; None is now. It decides the partition, nothing else.
        digest, last
            The digest of the source the rows come from, and that they are its last (`is_complete`).

        Raises
        ------
        SourceError
            It could not be written, and nothing new is visible; ``retryable`` for a full disk and its like.
        ValueError
            A table is not in its schema, or ``name`` or ``digest`` is not fit for a file name.
        """
        for text in (name, digest):
            if text is not None and not _SAFE_NAME.fullmatch(text):
                raise ValueError(f"expected letters, digits, dot, dash, underscore or equals sign, got {text!r}")
        arrived = time.time_ns() if arrived_ns is None else arrived_ns
        tables = {signal: conform(signal, batch.tables[signal]) for signal in SIGNALS if batch.table(signal).num_rows}
        facts = {"digest": digest, "last": "true" if last else None}
        written: list[Segment] = []
        try:
            if name is not None:
                tables = {signal: table for signal, table in tables.items() if not self._exists(signal, name)}
            written = self._write(tables, name, arrived, facts)
            if last and digest is not None:
                self._mark_complete(digest)
        except OSError as error:
            if name is None:
                durable.remove(segment.path for segment in written)
            raise durable.source_error(f"{self.path}: cannot append", error) from error
        return written

    def is_complete(self, digest: str) -> bool:
        """Tell whether an append with this ``digest`` and ``last`` was acknowledged."""
        return (self.path / _SOURCES / digest).exists()

    def snapshot(self) -> Store:
        """Return this store as it is now, for a question or a pass that asks about many hours: it is listed once.

        Each signal is listed when it is first asked for, and again after ten minutes, since compaction deletes an hour
        later what it replaced. What is appended meanwhile is not seen until then. A snapshot's own is itself.
        """
        if self._listings is not None:
            return self
        frozen = copy.copy(self)
        frozen._listings = {}
        return frozen

    def sampled(self, sample: int) -> Store:
        """Return this store with rollups of one trace in ``sample``; that of a snapshot shares what it listed."""
        other = copy.copy(self)
        other.sample = sample
        return other

    def segments(self, signal: str, window: Window | None = None) -> list[Segment]:
        """Return the segments that may hold rows of ``window`` (None: all), sorted by name.

        Raises SourceError for a segment that a newer version wrote. One that is damaged is skipped (`problems`).
        """
        return [segment for segment in self._listed_once(signal) if segment.overlaps(window)]

    def hours(self, signal: str, window: Window | None = None) -> list[Window]:
        """Return the whole hours that ``window`` (None: all time) touches and that hold rows of a signal, in order.

        Cost: that of a listing, and the times of segments over more than two days, read once.
        """
        return self._hours.of(self.segments(signal, window), window, self.filesystem)

    def _listed_once(self, signal: str) -> list[Segment]:
        if self._listings is None:
            return self._listed(signal)
        listed_at, found = self._listings.get(signal, (float("-inf"), []))
        if time.monotonic() - listed_at > _LISTED_FOR_S:
            listed_at, found = time.monotonic(), self._listed(signal)
            self._listings[signal] = (listed_at, found)
        return found

    def _listed(self, signal: str) -> list[Segment]:
        """Return all visible segments, sorted by name."""
        found: dict[str, Segment] = {}
        for path, segment in describe(self.path / signal, self._visible(signal), signal):
            if isinstance(segment, str):
                self._problems[path] = segment
            # Two writers may have raced with one name over the turn of an hour; the rows are the same.
            elif segment.name not in found or path < str(found[segment.name].path):
                found[segment.name] = segment
        return [found[name] for name in sorted(found)]

    def paths(self, signal: str, window: Window | None = None) -> list[str]:
        """Return the Parquet files of `segments`, for engines that read them themselves."""
        return [str(segment.path) for segment in self.segments(signal, window)]

    def size_bytes(self, segments: Sequence[Segment]) -> int:
        """Return what the files of segments take."""
        places = self.filesystem or pafs.LocalFileSystem()
        return sum(info.size or 0 for info in places.get_file_info([str(segment.path) for segment in segments]))

    def read(
        self,
        signal: str,
        window: Window | None = None,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,
    ) -> pa.Table:
        """Return the rows whose time lies in ``window``, segments in the order of their names.

        Parameters
        ----------
        signal
            A key of `hypocenter.tracer.schema.SIGNALS`. Series have no time: all come, unique by ``series_id``.
        window
            None is all time.
        columns
            The columns wanted, in that order; None is all. What an older segment lacks comes as null.
        filter
            A condition on any column of the signal, pushed down.
        """
        if signal == "series":
            return self._series(columns, filter)
        return rows_in(self.segments(signal, window), signal, window, columns, filter, self._report, self.filesystem)

    def scan(
        self,
        signal: str,
        window: Window | None = None,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield what `read` returns in batches of at most 65,536 rows, in bounded memory."""
        if signal == "series":
            return iter(self._series(columns, filter).to_batches())
        return batches_in(self.segments(signal, window), signal, window, columns, filter, self._report, self.filesystem)

    def bounds(self, signal: str | None = None) -> Window | None:
        """Return the window of event time over one signal or all, from footers alone; None when there are no rows."""
        ends = [
            (segment.start_ns, segment.end_ns)
            for each in (SIGNALS if signal is None else [signal])
            for segment in self.segments(each)
            if segment.start_ns is not None and segment.end_ns is not None
        ]
        return Window(min(start for start, _ in ends), max(end for _, end in ends)) if ends else None

    def _create(self) -> None:
        if self.path.exists() and any(entry.name != _STAGING for entry in self.path.iterdir()):
            raise SourceError(f"{self.path}: holds other files and is not a store; name an empty or a new folder")
        self.path.mkdir(parents=True, exist_ok=True)
        durable.sync(self.path.parent)
        durable.write_whole(self.path / MARKER, json.dumps(FORMAT).encode(), self.staging())

    def _check_marker(self) -> None:
        try:
            version = json.loads((self.path / MARKER).read_bytes())["format_version"]
        except FileNotFoundError:
            remedy = f"make one by `hypocenter ingest PATH... --store {self.path}`"
            raise SourceError(f"{self.path}: not a hypocenter store (it has no {MARKER}); {remedy}") from None
        except (ValueError, KeyError, TypeError):
            raise SourceError(f"{self.path / MARKER}: expected JSON with format_version; restore it") from None
        if version > _FORMAT_VERSION:
            raise SourceError(
                f"{self.path}: store format {version} is newer than {_FORMAT_VERSION}; upgrade hypocenter"
            )

    def _write(
        self, tables: dict[str, pa.Table], name: str | None, arrived_ns: int, facts: dict[str, str | None]
    ) -> list[Segment]:
        """Write all tables before the first becomes visible, so that a full disk leaves nothing half done."""
        if not tables:
            return []
        unique = durable.unique_name(arrived_ns)
        staging = self.staging()
        moves: list[tuple[Path, Path]] = []
        written: list[Segment] = []
        try:
            for signal, table in tables.items():
                folder = self.path / signal / partition(arrived_ns)
                moves.append((staging / f"{unique}.{signal}{SUFFIX}", folder / f"{name or unique}{SUFFIX}"))
                part = write(moves[-1][0], signal, table, facts)
                durable.sync(part.path)
                self._make_folder(folder)
                final = moves[-1][1]
                written.append(Segment(final, signal, part.rows, part.start_ns, part.end_ns, final.stem, part.digest))
            # A named segment is not taken back: another writer may have been told that it is there.
            durable.publish(moves, undo=name is None)
        finally:
            durable.remove(temporary for temporary, _ in moves)
        return written

    def staging(self) -> Path:
        """Return the folder of unfinished files, in the same file system as the segments, leftovers removed."""
        staging = self.path / _STAGING
        staging.mkdir(exist_ok=True)
        if time.monotonic() - self._swept_at > _SWEEP_EVERY_S:
            durable.sweep(staging)
            self._swept_at = time.monotonic()
        return staging

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._durable_folders or not folder.exists():
            durable.make_folder(folder, self.path)
            self._durable_folders.add(folder)

    def _mark_complete(self, digest: str) -> None:
        self._make_folder(self.path / _SOURCES)
        durable.write_whole(self.path / _SOURCES / digest, b"", self.staging())

    def _exists(self, signal: str, name: str) -> bool:
        """Tell whether a segment of this name is or was there, and see to it that this stays so."""
        records = self.path / signal / changes.FOLDER
        if f"{name}{SUFFIX}" in changes.removed_names(changes.changes(records.parent)):
            durable.sync(records)
            return True
        for hour in reversed(hour_folders(self.path / signal)):
            if os.path.exists(f"{hour}/{name}{SUFFIX}"):  # noqa: PTH110  a Path for each hour of a year is slower
                # Its writer may have been killed, or may still be, between the rename and the sync.
                durable.sync(Path(hour))
                return True
        return False

    def _visible(self, signal: str) -> list[str]:
        """Return the paths of the visible segments.

        Records are read before partitions are listed: a change that comes between the two is not seen at all, and
        the files it removes are still there.
        """
        folder = self.path / signal
        records = changes.changes(folder)
        removed = changes.removed_names(records)
        found = [f"{folder}/{path}" for record in records for path in record.adds]
        for hour in hour_folders(folder):
            found += [f"{hour}/{name}" for name in os.listdir(hour) if name.endswith(SUFFIX)]  # noqa: PTH208
        return [path for path in found if path.rpartition("/")[2] not in removed]

    def _series(self, columns: Sequence[str] | None, condition: pc.Expression | None) -> pa.Table:
        wanted = None if columns is None else list(dict.fromkeys([*columns, "series_id"]))
        table = rows_in(self.segments("series"), "series", None, wanted, condition, self._report, self.filesystem)
        unique = unique_series([table])
        return unique if columns is None else unique.select(list(columns))

    def _report(self, path: str, reason: str) -> None:
        self._problems[path] = reason
