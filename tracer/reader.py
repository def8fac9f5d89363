"""The one interface of every file format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from .batch import Batch
from .source import Source


class Reader(Protocol):
    """A format: a module of `tracer/readers` with these three names satisfies it.

    `tracer/detect.py` lists all readers; the first whose ``matches`` is true reads the file.
    """

    @property
    def NAME(self) -> str:
        """The format's name, kebab-case, e.g. ``otlp-json``."""
        ...

    def matches(self, head: bytes, file_name: str) -> bool:
        """Tell from the first 64 KiB (decompressed, perhaps cut in the middle of a line) whether this format reads it.

        The file name may only settle what the content leaves open. Never raises.
        """
        ...

    def read(self, source: Source) -> Iterator[Batch]:
        """Yield batches of at most about 65,536 rows in the order of the file, in bounded memory.

        Items that cannot be read are dropped under a reason with their place (`Tally.drop`), repairs are counted; a
        file that cannot be read at all raises DecodeError. Equal bytes yield equal batches.
        """
        ...
