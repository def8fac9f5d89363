"""Texts inside of JSON documents, changed in bulk by the name they stand under."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from .otlp.attributes import replaced

Treatment = Callable[[pa.Array], pa.Array]
_Place = tuple[Any, Any]
_AT_ONCE: Final = 5_000


def map_leaves(documents: pa.Array, hint: str, treatment: Callable[[str], Treatment | None]) -> pa.Array:
    """Return JSON documents with their texts changed; null stays null.

    Only documents that match the expression ``hint`` are looked into. ``treatment`` tells by the name of a text what to
    do with it (None: nothing); it is given texts as JSON and returns JSON.
    """
    rows = np.flatnonzero(pc.fill_null(pc.match_substring_regex(documents, hint), False).to_numpy(zero_copy_only=False))
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        values = [orjson.loads(text) for text in documents.take(pa.array(some)).to_pylist()]
        by_name: dict[str, list[_Place]] = {}
        for value in values:
            _collect(value, "", by_name)
        for name, places in by_name.items():
            if (treat := treatment(name)) is None:
                continue
            texts = pa.array([orjson.dumps(holder[key]).decode() for holder, key in places])
            for (holder, key), text in zip(places, treat(texts).to_pylist(), strict=True):
                holder[key] = orjson.loads(text)
        changed = pa.array([orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() for value in values])
        documents = replaced(documents, some, changed)
    return documents


def _collect(value: Any, name: str, found: dict[str, list[_Place]]) -> None:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        place = key if isinstance(key, str) else name
        if isinstance(inner, str):
            found.setdefault(place, []).append((value, key))
        else:
            _collect(inner, place, found)
