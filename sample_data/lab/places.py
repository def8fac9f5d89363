"""Paths of the machine that records, as they stand in stack traces, replaced by what they are."""

from __future__ import annotations

import site
import sys
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from .environment import ROOT


def places_of(lab: Path, packages: Path) -> dict[str, str]:
    """Return what a recording calls each folder; ``lab`` holds the lab's files, ``packages`` those of Node."""
    found = {str(Path(folder).parents[2]): "/venv" for folder in site.getsitepackages()}
    # Packages may be found through a path file of another environment.
    found |= {str(Path(p).parents[2]): "/venv" for p in sys.path if p.endswith("site-packages")}
    found |= {sys.prefix: "/venv", sys.base_prefix: "/usr", str(lab): "/lab", str(packages): "/app/node"}
    return {str(ROOT): "/app", str(Path.home()): "/home/app"} | found


def without_places(table: pa.Table, places: Mapping[str, str]) -> pa.Table:
    """Return the table with ``places`` replaced in its texts and in the values of its attributes, the longest first."""
    for number, field in enumerate(table.schema):
        column = table.column(number).combine_chunks()
        if pa.types.is_string(field.type):
            replaced = _replaced(column, places)
        elif pa.types.is_map(field.type):
            inner = _replaced(column.items, places)
            # The offsets of a map tell where its entries are, its validity is kept apart.
            replaced = pa.MapArray.from_arrays(
                column.offsets, column.keys, inner, type=field.type, mask=column.is_null()
            )
        else:
            continue
        table = table.set_column(number, field, replaced)
    return table


def _replaced(texts: pa.Array, places: Mapping[str, str]) -> pa.Array:
    encoded = texts.dictionary_encode()
    words = encoded.dictionary
    for place in sorted(places, key=len, reverse=True):
        words = pc.replace_substring(words, place, places[place])
    return words.take(encoded.indices)
