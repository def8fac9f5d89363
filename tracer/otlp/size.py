"""Tables repeat the resource on each row: a small request must not become a huge table."""

from __future__ import annotations

from typing import Final

from .any_value import Malformed, Pairs

_MAX_REPEATED_BYTES: Final = 2**30


def refuse_absurd_size(repeated_bytes: int) -> None:
    """Raise Malformed if resource attributes, repeated on each row, would take more than 1 GiB."""
    if repeated_bytes > _MAX_REPEATED_BYTES:
        raise Malformed("resource attributes would take more than 1 GiB when repeated on each row")


class RepeatedBytes:
    """Adds up the bytes of a resource for each row that repeats it, and raises Malformed beyond the limit."""

    def __init__(self) -> None:
        self._total = self._resource = 0

    def of(self, resource: Pairs) -> None:
        """Let the following rows belong to ``resource``."""
        self._resource = sum(map(len, resource[0])) + sum(map(len, resource[1]))

    def repeat(self) -> None:
        """Add one row."""
        self._total += self._resource
        refuse_absurd_size(self._total)
