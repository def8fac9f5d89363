"""The label of an RCAEval recording (``inject_time.txt``): known, so that walking a folder does not stumble over it."""

from __future__ import annotations

from collections.abc import Iterator

from ..batch import Batch, Tally
from ..source import Source

NAME = "rcaeval-label"


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the name, and by a content of digits only."""
    return file_name == "inject_time.txt" and head.strip().isdigit()


def read(source: Source) -> Iterator[Batch]:
    """Yield no rows: the time of injection is the answer, not telemetry."""
    tally = Tally()
    tally.drop("label of a recording, never stored", source.name)
    yield Batch(tally=tally)
