"""One segment: an immutable Parquet file whose footer says what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hypocenter.errors import SourceError

from ..schema import SCHEMA_VERSION, SIGNALS, TIME_COLUMN
from ..window import SECOND_NS, Window

SUFFIX = ".parquet"
COMPACTED = "compacted"
_KEY = "hypocenter."
_ROW_GROUP_ROWS = 128 * 1024
_ENCODING: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "write_page_checksum": True,
    "write_batch_size": 64 * 1024,
    # The Arrow schema is declared in code: a copy in each footer would outweigh small segments.
    "store_schema": False,
}
# Smaller ones are soon compacted: making dictionaries would cost them more time than it saves bytes (4 %).
_DICTIONARIES_FROM_ROWS = 64 * 1024
# Columns where nearly every value differs: a dictionary would only be built to be thrown away.
_UNIQUE = {"trace_id", "span_id", "parent_span_id", "start_ns", "duration_ns", "time_ns", "value", "body", "histogram"}
# Bounds of row groups help where rows are in an order: that of time, or of the key by which compaction sorts.
_ORDERED = {"trace_id", "series_id", "uid", *TIME_COLUMN.values()}
_THREADS = 8


def _leaves(schema: pa.Schema) -> list[str]:
    """Return the Parquet paths of the leaf columns."""
    found = []
    for field in schema:
        if pa.types.is_map(field.type):
            found += [f"{field.name}.key_value.key", f"{field.name}.key_value.value"]
        elif pa.types.is_list(field.type):
            found += [f"{field.name}.list.element.{inner.name}" for inner in field.type.value_type]
        else:
            found.append(field.name)
    return found


_REPETITIVE = {signal: [leaf for leaf in _leaves(schema) if leaf not in _UNIQUE] for signal, schema in SIGNALS.items()}


@dataclass(frozen=True, slots=True)
class Segment:
    """A visible segment; ``[start_ns, end_ns)`` bounds its event times and is None for a signal without a time."""

    path: Path
    signal: str
    rows: int
    start_ns: int | None
    end_ns: int | None
    name: str
    digest: str | None

    @property
    def arrived_hour_ns(self) -> int:
        """The hour of arrival of its rows, nanoseconds since the epoch; a compacted file has it in its name."""
        if self.path.parent.name == COMPACTED:
            return int(self.name.partition("-")[0])
        day, hour = (part.partition("=")[2] for part in self.path.parts[-3:-1])
        return round(datetime.fromisoformat(f"{day}T{hour}:00+00:00").timestamp()) * SECOND_NS

    def overlaps(self, window: Window | None) -> bool:
        """Tell whether some row may lie in ``window``; rows without a time always may."""
        if window is None or self.start_ns is None or self.end_ns is None:
            return True
        return self.start_ns < window.end_ns and window.start_ns < self.end_ns

    def within(self, window: Window | None) -> bool:
        """Tell whether every row lies in ``window``."""
        if window is None or self.start_ns is None or self.end_ns is None:
            return True
        return window.start_ns <= self.start_ns and self.end_ns <= window.end_ns


def conform(signal: str, table: pa.Table) -> pa.Table:
    """Return ``table`` with exactly the columns of the signal's schema; ValueError when it cannot be."""
    schema = SIGNALS[signal]
    if table.schema.equals(schema):
        return table
    missing = [name for name in schema.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.names]
    if missing or unknown:
        raise ValueError(f"{signal}: expected the columns of its schema; missing {missing}, unknown {unknown}")
    try:
        return table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise ValueError(f"{signal}: {error}") from error


def write(path: Path, signal: str, table: pa.Table, facts: dict[str, Any], sink: Any = None) -> Segment:
    """Write the rows to ``path``, neither synced nor published, and return the segment under that path.

    With ``sink``, a stream, they go there.
    """
    start_ns = end_ns = None
    if signal in TIME_COLUMN:
        bounds = pc.call_function("min_max", [table.column(TIME_COLUMN[signal])]).as_py()
        start_ns, end_ns = bounds["min"], bounds["max"] + 1
    facts = {
        **facts,
        "schema_version": SCHEMA_VERSION,
        "signal": signal,
        "rows": table.num_rows,
        "start_ns": start_ns,
        "end_ns": end_ns,
    }
    footer = {_KEY + key: str(value) for key, value in facts.items() if value is not None}
    options: dict[str, Any] = {
        "use_dictionary": _REPETITIVE[signal] if table.num_rows >= _DICTIONARIES_FROM_ROWS else False,
        "write_statistics": [name for name in table.schema.names if name in _ORDERED],
    }
    with pq.ParquetWriter(sink or str(path), table.schema, **_ENCODING, **options) as writer:
        writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
        writer.add_key_value_metadata(footer)
    return Segment(path, signal, table.num_rows, start_ns, end_ns, path.stem, facts.get("digest"))


# Segments are immutable: a footer read once stays true as long as its file is visible. By folder, then by file.
_Key = tuple[str, int, int]  # path, size, time of change
_footers: dict[str, dict[_Key, Segment | str]] = {}


def describe(folder: Path, paths: Iterable[str], signal: str) -> list[tuple[str, Segment | str]]:
    """Return the segment of each visible file of a folder, or the reason why it cannot be read, from its footer.

    Raises SourceError for a segment that a newer version wrote: what it means is unknown here.
    """
    found: list[tuple[str, Segment | str]] = []
    keys = []
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116  a Path for each of ten thousand files is slower
        except OSError as error:
            found.append((path, f"cannot be found ({error.strerror})"))
            continue
        keys.append((path, status.st_size, status.st_mtime_ns))
    return found + footers(str(folder), keys, signal, pq.read_metadata)


def footers(
    folder: str, keys: Sequence[_Key], signal: str, read: Callable[[str], pq.FileMetaData]
) -> list[tuple[str, Segment | str]]:
    """Return the same for files given as path, size and time of change, their footers read by ``read``.

    Files of the folder that are not among them are forgotten: a process that compacts for months does not grow.
    """
    known = _footers.get(folder, {})
    unknown = [key for key in keys if key not in known]
    if len(unknown) > 1:
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(lambda key: _read_footer(key[0], signal, read), unknown))
    else:
        found = [_read_footer(key[0], signal, read) for key in unknown]
    new = dict(zip(unknown, found, strict=True))
    kept = {key: known[key] if key in known else new[key] for key in keys}
    _footers[folder] = kept
    return [(path, segment) for (path, _, _), segment in kept.items()]


def _read_footer(path: str, signal: str, read: Callable[[str], pq.FileMetaData]) -> Segment | str:
    try:
        metadata = read(path)
    except (pa.ArrowException, OSError) as error:
        return f"not a whole Parquet file ({str(error).splitlines()[0]})"
    facts = {
        key.decode().removeprefix(_KEY): value.decode()
        for key, value in (metadata.metadata or {}).items()
        if key.startswith(_KEY.encode())
    }
    if not facts.get("schema_version", "").isdigit():
        return "no schema_version in its footer: not written by a hypocenter store"
    if int(facts["schema_version"]) > SCHEMA_VERSION:
        raise SourceError(
            f"{path}: written with schema version {facts['schema_version']}, this hypocenter reads up to "
            f"{SCHEMA_VERSION}; upgrade hypocenter"
        )
    start, end = facts.get("start_ns"), facts.get("end_ns")
    return Segment(
        path=Path(path),
        signal=signal,
        rows=metadata.num_rows,
        start_ns=None if start is None else int(start),
        end_ns=None if end is None else int(end),
        name=Path(path).stem,
        digest=facts.get("digest"),
    )
