"""Rows on disk by number of group: written in any order, read group by group without holding the others in memory."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pyarrow as pa

Ints = np.ndarray


class Spill:
    """A temporary file of rows, each batch sorted by group: `add` all, `close`, then `read` from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pa.RecordBatchFileWriter | None = None
        self._groups: list[Ints] = []
        self._first: list[Ints] = []
        self._batches: list[pa.RecordBatch] = []
        self.rows = 0
        self._map: mmap.mmap | None = None

    def add(self, rows: pa.RecordBatch, group: Ints) -> None:
        """Write rows, each of the group given by its number."""
        low, high = int(group.min()), int(group.max())
        # Stable sorting takes linear time for integers of 16 bits.
        order = np.argsort((group - low).astype(np.uint16) if high - low < 2**16 else group, kind="stable")
        ranked = group[order]
        first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        writer = self._writer = self._writer or pa.ipc.new_file(str(self._path), rows.schema)
        writer.write_batch(rows.take(pa.array(order)))
        self._groups.append(ranked[first])
        self._first.append(np.append(first, len(order)))
        self.rows += len(order)

    def close(self) -> None:
        """End writing, begin reading."""
        if self._writer is None:
            return
        self._writer.close()
        with self._path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pa.ipc.open_file(pa.py_buffer(self._map))
        self._batches = [reader.get_batch(at) for at in range(reader.num_record_batches)]

    def sizes(self) -> tuple[Ints, Ints]:
        """Return the groups in ascending order and how many rows each has."""
        groups, at = np.unique(np.concatenate(self._groups), return_inverse=True)
        rows = np.zeros(len(groups), np.int64)
        np.add.at(rows, at, np.concatenate([np.diff(first) for first in self._first]))
        return groups, rows

    def read(self, first: int, end: int) -> list[pa.RecordBatch]:
        """Return the rows of the groups ``[first, end)``; they lie in the file, and so in memory, until `forget`."""
        found = []
        for batch, groups, starts in zip(self._batches, self._groups, self._first, strict=True):
            low, high = np.searchsorted(groups, [first, end])
            if low < high:
                found.append(batch.slice(starts[low], starts[high] - starts[low]))
        return found

    def forget(self) -> None:
        """Free the memory of what was read; it is read again from the file where it is still used."""
        if self._map is not None and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
