"""Attributes of many owners, flattened: set operations on keys and JSON texts instead of a map for each owner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ..schema import ATTRIBUTES
from .any_value import Pairs

_SPECIAL = np.zeros(256, bool)
_SPECIAL[:32] = _SPECIAL[ord('"')] = _SPECIAL[ord("\\")] = True
_ABSENT = pa.array(['""', "null"])  # an empty name names nothing


@dataclass(frozen=True)
class Attributes:
    """The attributes of n owners: owner i has ``keys`` and ``texts`` from ``offsets[i]`` to ``offsets[i + 1]``."""

    offsets: np.ndarray  # (n + 1,) int32
    keys: pa.StringArray
    texts: pa.StringArray  # JSON

    @classmethod
    def of(cls, pairs: Sequence[Pairs]) -> Attributes:
        """Return the attributes of the owners in the given order."""
        keys = [key for part in pairs for key in part[0]]
        texts = [text for part in pairs for text in part[1]]
        return cls(
            offsets_of([len(part[0]) for part in pairs]), pa.array(keys, pa.string()), pa.array(texts, pa.string())
        )

    @cached_property
    def owners(self) -> np.ndarray:
        """The owner of each attribute."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @cached_property
    def _codes(self) -> tuple[np.ndarray, dict[str, int]]:
        encoded = self.keys.dictionary_encode()
        names = {name: code for code, name in enumerate(encoded.dictionary.to_pylist())}
        return encoded.indices.to_numpy(zero_copy_only=False), names

    def unique(self) -> tuple[Attributes, int]:
        """Return the attributes with each key once an owner, the last one kept, and how many were left out."""
        codes, names = self._codes
        if not len(codes):
            return self, 0
        pairs = self.owners * len(names) + codes
        if pc.count_distinct(pa.array(pairs)).as_py() == len(pairs):
            return self, 0
        _, last = np.unique(pairs[::-1], return_index=True)
        kept = np.sort(len(pairs) - 1 - last)
        lengths = np.bincount(self.owners[kept], minlength=len(self.offsets) - 1)
        at = pa.array(kept)
        return Attributes(offsets_of(lengths), self.keys.take(at), self.texts.take(at)), len(pairs) - len(kept)

    def pick(self, names: Sequence[str]) -> pa.StringArray:
        """Return for each owner the text of the first of ``names`` that it has; null where it has none.

        A string is itself, another value its JSON text; an empty string and an unset value count as absent.
        """
        codes, known = self._codes
        chosen = np.full(len(self.offsets) - 1, -1, "i8")
        for name in reversed(names):
            if name in known:
                hits = np.flatnonzero(codes == known[name])
                present = pc.invert(pc.is_in(self.texts.take(pa.array(hits)), _ABSENT))
                hits = hits[present.to_numpy(zero_copy_only=False)]
                chosen[self.owners[hits]] = hits
        return unquoted(self.texts.take(pa.array(chosen, mask=chosen < 0)))

    def to_maps(self) -> pa.MapArray:
        """Return one map for each owner."""
        return pa.MapArray.from_arrays(pa.array(self.offsets, pa.int32()), self.keys, self.texts).cast(ATTRIBUTES)

    def to_objects(self) -> pa.StringArray:
        """Return the JSON text of one object for each owner."""
        members = pc.binary_join_element_wise(quoted(self.keys), self.texts, ":")
        inside = pc.binary_join(pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), members), ",")
        return pc.binary_join_element_wise("{", inside, "}", "")


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return where each list begins and the last one ends, given the lengths."""
    offsets = np.zeros(len(lengths) + 1, "i4")
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def quoted(texts: pa.StringArray) -> pa.StringArray:
    """Return each string as JSON text; null stays null."""
    plain = pc.binary_join_element_wise('"', texts, '"', "")
    rows = _rows_with_special_characters(texts)
    if not len(rows):
        return plain
    escaped = [orjson.dumps(text).decode() for text in texts.take(pa.array(rows)).to_pylist()]
    return replaced(plain, rows, pa.array(escaped, pa.string()))


def unquoted(texts: pa.StringArray) -> pa.StringArray:
    """Return the string that each JSON text is, the text itself where it is no string; null stays null."""
    is_string = pc.starts_with(texts, '"')
    result = pc.if_else(is_string, pc.utf8_slice_codeunits(texts, 1, -1), texts)
    escaped = pc.and_(is_string, pc.match_substring(texts, "\\")).fill_null(False).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(escaped)
    if not len(rows):
        return result
    strings = orjson.loads("[" + ",".join(texts.take(pa.array(rows)).to_pylist()) + "]")
    return replaced(result, rows, pa.array(strings, pa.string()))


def replaced(texts: pa.StringArray, rows: np.ndarray, by: pa.StringArray) -> pa.StringArray:
    """Return ``texts`` with those at ``rows`` replaced by ``by`` in order."""
    at = np.arange(len(texts))
    at[rows] = np.arange(len(texts), len(texts) + len(rows))
    return pa.concat_arrays([texts, by]).take(pa.array(at))


def _rows_with_special_characters(texts: pa.StringArray) -> np.ndarray:
    content = texts.buffers()[2]
    if content is None or not len(texts):
        return np.empty(0, "i8")
    offsets = np.frombuffer(texts.buffers()[1], "i4")[texts.offset : texts.offset + len(texts) + 1]
    places = np.flatnonzero(_SPECIAL[np.frombuffer(content, "u1")[offsets[0] : offsets[-1]]]) + offsets[0]
    return np.unique(np.searchsorted(offsets, places, "right") - 1)
