"""Rows whose texts and flags depend on a few thousand shapes: a table of the shapes, and numbers a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from . import grouping

Ints = np.ndarray


@dataclass(frozen=True, slots=True)
class Facts:
    """``shape`` is a row's position in ``dims``; a number is known where the flag that ``known_by`` names is set."""

    dims: pa.Table
    shape: Ints
    numbers: Mapping[str, Ints]
    known_by: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, table: pa.Table, dims: Sequence[str], known_by: Mapping[str, str]) -> Facts:
        """Return a table as facts; its other columns are numbers."""
        shape, found = grouping.group({name: table.column(name) for name in dims})
        numbers = {name: table.column(name) for name in table.column_names if name not in dims}
        filled = {name: column.fill_null(0).to_numpy() for name, column in numbers.items()}
        return cls(pa.table(found), shape, filled, known_by)

    def __len__(self) -> int:
        return len(self.shape)

    def flag(self, name: str) -> np.ndarray:
        """Return a flag of each shape."""
        flags: np.ndarray = self.dims.column(name).to_numpy()
        return flags

    def table(self) -> pa.Table:
        """Return all columns a row, nulls where numbers are unknown, texts plain."""
        masks = {name: ~self.flag(flag)[self.shape] for name, flag in self.known_by.items()}
        numbers = {name: pa.array(values, mask=masks.get(name)) for name, values in self.numbers.items()}
        shapes = self.dims.take(pa.array(self.shape))
        texts = {
            name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for name, column in zip(shapes.column_names, shapes.columns, strict=True)
        }
        return pa.table({**texts, **numbers})
