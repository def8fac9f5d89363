"""The items of a JSON document of any size, a block at a time: the values of one array, or values one after another."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson

from hypocenter.errors import DecodeError

from .batch import Tally
from .source import Source

_BLOCK_BYTES: Final = 4 << 20
ITEM_LIMIT_BYTES: Final = 256 << 20
_BOM: Final = b"\xef\xbb\xbf"
_OPENED: Final = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*\[")
_QUOTE, _BACKSLASH, _SPACE = 34, 92, b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Items:
    """Items in order, each parsed when its turn comes; ``tally`` then holds those that were no JSON."""

    texts: list[tuple[str, bytes]]  # with the place of each: the byte (decompressed) where it begins
    tally: Tally

    def __iter__(self) -> Iterator[tuple[object, str]]:
        """Yield the value of each item and its place."""
        for place, text in self.texts:
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                self.tally.drop("item that is not JSON", f"{place}: {error.msg}")
            else:
                yield value, place


def read_items(source: Source, arrays: Collection[str] = ()) -> Iterator[Items]:
    """Yield the items of ``source`` in blocks of a few megabytes.

    They are the elements of a top-level array, or of the array at one of the paths ``arrays`` (``data``,
    ``data.result``) of a top-level object; or the top-level values, when there are several (JSON lines) or none of
    these arrays. Broken items, and those that are neither object nor array, are dropped with their byte.
    Raises DecodeError for an item longer than 256 MiB.
    """
    skip, base = _shape(source.head(), arrays)
    source.stream.read(skip)
    scan, offset, rest = _Scanner(base), skip, b""
    while chunk := source.stream.read(_BLOCK_BYTES):
        ends, closed_at, is_more = scan.ends_in(chunk)
        ends += len(rest)
        block = rest + chunk
        yield _items(source.name, block, ends, offset)
        done = int(ends[-1]) if len(ends) else 0
        if closed_at is not None:
            if block[done : closed_at + len(rest)].strip(_SPACE + b","):
                yield _lost("item that is not JSON", f"{source.name}: byte {offset + done}")
            while not is_more and (chunk := source.stream.read(_BLOCK_BYTES)):
                is_more = scan.begins_in(chunk)
            if is_more:
                yield _lost("values after the document", f"{source.name}: after byte {offset + done}")
            return
        offset, rest = offset + done, block[done:]
        if len(rest) > ITEM_LIMIT_BYTES:
            raise DecodeError(source.name, f"byte {offset}", "an item is longer than 256 MiB")
    left = rest.strip(_SPACE + b",")
    if left and (base == 0 or left[:1] not in b"]}"):
        yield _lost("item cut short", f"{source.name}: byte {offset}")


def _lost(reason: str, place: str) -> Items:
    tally = Tally()
    tally.drop(reason, place)
    return Items([], tally)


def _shape(head: bytes, arrays: Collection[str]) -> tuple[int, int]:
    """Return how many bytes precede the items and how deep they stand."""
    start = len(head) - len(head.removeprefix(_BOM).lstrip(_SPACE))
    first = head[start : start + 1]
    if _has_several(head[start:]):
        return start, 0
    if first == b"[":
        return start + 1, 1
    if first == b"{":
        for path in arrays:
            at = array_start(head[start:], path)
            if at is not None:
                return start + at + 1, path.count(".") + 2
    return start, 0


def _has_several(text: bytes) -> bool:
    """Tell whether a second value begins in ``text``."""
    ends, _, _ = _Scanner(0).ends_in(text)
    return len(ends) > 1 or (len(ends) == 1 and bool(text[int(ends[0]) :].strip(_SPACE)))


def array_start(text: bytes, path: str) -> int | None:
    """Return where the array at ``path`` in the object that ``text`` begins with opens, None when it has none.

    Of the path only the last key and its depth are looked at.

    >>> array_start(b'{"a": {"data": [1]}, "data": [2]}', "data")
    29
    """
    key, level = path.rpartition(".")[2], path.count(".") + 1
    quoted = b'"' + key.encode() + b'"'
    depth = _Scanner(0).depths(np.frombuffer(text, "u1"))
    at = text.find(quoted)
    while at >= 0:
        after = at + len(quoted)
        if depth[at] == level and (opened := _OPENED.match(text, after)):
            return opened.end() - 1
        at = text.find(quoted, after)
    return None


class _Scanner:
    """Finds where items end, a block at a time, from quotes, escapes and brackets alone."""

    def __init__(self, base: int) -> None:
        self._base = self._depth = base
        self._in_text = False
        self._escaping = False

    def ends_in(self, chunk: bytes) -> tuple[np.ndarray, int | None, bool]:
        """Return the positions after the items that end in ``chunk``, where their holder ends, and if more comes."""
        content = np.frombuffer(chunk, "u1")
        depth = self.depths(content)
        closing = (content == ord("}")) | (content == ord("]"))
        before = np.r_[self._last_depth, depth[:-1]]
        closed = np.flatnonzero(depth < self._base)
        ends = np.flatnonzero(closing & (depth == self._base) & (before == self._base + 1)) + 1
        if not len(closed):
            return ends, None, False
        is_more = bool(((depth == 1) & (before == 0))[closed[0] :].any())
        return ends[ends <= closed[0]], int(closed[0]), is_more

    def begins_in(self, chunk: bytes) -> bool:
        """Tell whether a top-level value begins in ``chunk``."""
        depth = self.depths(np.frombuffer(chunk, "u1"))
        return bool(((depth == 1) & (np.r_[self._last_depth, depth[:-1]] == 0)).any())

    def depths(self, content: np.ndarray) -> np.ndarray:
        """Return the depth after each byte."""
        self._last_depth = self._depth
        quotes = content == _QUOTE
        quotes &= ~self._escaped(content)
        texts = np.bitwise_xor.accumulate(quotes.view("u1")) ^ np.uint8(self._in_text)
        outside = texts == 0
        steps = ((content == ord("{")) | (content == ord("["))) & outside
        falls = ((content == ord("}")) | (content == ord("]"))) & outside
        depth: np.ndarray = np.cumsum(steps.view("i1") - falls.view("i1"), dtype="i4") + np.int32(self._depth)
        if len(content):
            self._in_text, self._depth = bool(texts[-1]), int(depth[-1])
        return depth

    def _escaped(self, content: np.ndarray) -> np.ndarray:
        """Return which bytes follow an odd run of backslashes."""
        escaped = np.zeros(len(content), bool)
        slashes = np.flatnonzero(content == _BACKSLASH)
        if self._escaping and len(content):
            escaped[0] = True
            slashes = slashes[1:] if len(slashes) and slashes[0] == 0 else slashes
        self._escaping = False
        if not len(slashes):
            return escaped
        begins = np.flatnonzero(np.r_[True, np.diff(slashes) != 1])
        lengths = np.diff(np.r_[begins, len(slashes)])
        after = slashes[begins] + lengths
        after = after[lengths % 2 == 1]
        if len(after) and after[-1] == len(content):
            self._escaping = True
            after = after[:-1]
        escaped[after] = True
        return escaped


def _items(name: str, block: bytes, ends: np.ndarray, offset: int) -> Items:
    texts = []
    start = 0
    for end in ends.tolist():
        text = block[start:end].lstrip(_SPACE + b",")
        texts.append((f"{name}: byte {offset + end - len(text)}", text))
        start = end
    return Items(texts, Tally())
