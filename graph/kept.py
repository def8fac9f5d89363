"""The rollups of one hour as files: written whole by whoever is first, read by all, on a disk or on object storage."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyarrow import feather

from ..tracer.window import HOUR_NS
from . import histogram
from .rollup import SCHEMAS, Rollups, to_steps

FINE, COARSE = "{}.parquet", "{}-hour.arrow"


@dataclass(frozen=True, slots=True)
class Kept:
    """``folder`` is named by what it is made of, so whoever writes it writes the same; in ``filesystem``, None being
    this machine's."""

    folder: Path
    filesystem: pafs.FileSystem | None = None

    def exists(self) -> bool:
        """Tell whether all tables are there."""
        if self.filesystem is None:
            return self.folder.is_dir()
        # The file that is put last, opened: to ask about one that is absent would be a listing as well.
        try:
            self.filesystem.open_input_file(f"{self.folder}/{COARSE.format(list(SCHEMAS)[-1])}").close()
        except FileNotFoundError:
            return False
        return True

    def read(self, steps: str, durations_of: Collection[str]) -> Rollups | None:
        """Return the tables in steps of 10 s (`FINE`) or as one (`COARSE`); None when they are not there, or damaged.

        Histograms are null but in the tables of ``durations_of``.
        """
        try:
            return Rollups(**{name: self._table(steps, name, durations_of) for name in SCHEMAS})
        except (OSError, pa.ArrowException):  # absent, replaced meanwhile, or damaged: it can be made again
            return None

    def write(self, rollups: Rollups) -> None:
        """Publish both steps and remove what they replace; storage that may only be read keeps none."""
        if self.filesystem is not None:
            with contextlib.suppress(OSError):
                _put(rollups, self.filesystem, str(self.folder))
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".", dir=self.folder.parent))
        except OSError:  # a store that may only be read
            return
        try:
            _put(rollups, pafs.LocalFileSystem(), str(staging))
            for older in self.folder.parent.iterdir():
                if older != staging and not older.name.startswith("."):
                    shutil.rmtree(older, ignore_errors=True)
            staging.replace(self.folder)
        except OSError:  # no room, or another process was faster
            shutil.rmtree(staging, ignore_errors=True)

    def _table(self, steps: str, name: str, durations_of: Collection[str]) -> pa.Table:
        schema, path = SCHEMAS[name], f"{self.folder}/{steps.format(name)}"
        read = [field.name for field in schema if field.type != histogram.TYPE or name in durations_of]
        if steps == FINE:
            table = pq.read_table(path, columns=read, filesystem=self.filesystem)
        elif self.filesystem is None:
            table = feather.read_table(path, columns=read, memory_map=True)
        else:
            with self.filesystem.open_input_file(path) as file:
                table = feather.read_table(file, columns=read)
        return pa.table(
            [table[n] if n in read else pa.nulls(len(table), schema.field(n).type) for n in schema.names], schema
        )


def _put(rollups: Rollups, filesystem: pafs.FileSystem, folder: str) -> None:
    coarse = to_steps(rollups, HOUR_NS)
    for name in SCHEMAS:
        with filesystem.open_output_stream(f"{folder}/{FINE.format(name)}") as sink:
            pq.write_table(getattr(rollups, name), sink, compression="zstd")
        # Few rows, read by the hundred: three times the size of Parquet, a third of the time.
        with filesystem.open_output_stream(f"{folder}/{COARSE.format(name)}") as sink:
            feather.write_feather(getattr(coarse, name), sink, compression="lz4")
