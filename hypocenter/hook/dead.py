"""Dead letters: what a receiver refused or never took, a file each, to be looked at and sent again."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..tracer.window import SECOND_NS, to_rfc3339
from .journal import Entry
from .payload import parse
from .sink import Sink
from .text import Enrichment


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """``content`` as in the file: sink, key, reason, received_ns, source, body, enrichment."""

    path: Path
    content: dict[str, Any]

    @property
    def sink(self) -> str:
        """The receiver's name."""
        return str(self.content["sink"])


class DeadLetters:
    """The folder; files sort by the time of arrival, so that a replay keeps the order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, entry: Entry, sink: str, reason: str, enrichment: Enrichment | None) -> Path:
        """Write a letter, durable when this returns, and return its path; OSError when it cannot be."""
        self.folder.mkdir(parents=True, exist_ok=True)
        at = to_rfc3339(entry.received_ns - entry.received_ns % SECOND_NS).replace(":", "")
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in sink)
        path = self.folder / f"{at}-{entry.received_ns % SECOND_NS:09d}-{safe}-{entry.key[:8]}.json"
        content = {
            "sink": sink,
            "key": entry.key,
            "reason": reason,
            "received_ns": entry.received_ns,
            "source": entry.source,
            "body": base64.b64encode(entry.body).decode(),
            "enrichment": enrichment.to_dict() if enrichment else entry.enrichment,
        }
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        return path

    def __iter__(self) -> Iterator[DeadLetter]:
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []:
            yield DeadLetter(path, orjson.loads(path.read_bytes()))

    def count(self) -> int:
        """Return how many there are."""
        return sum(1 for _ in self.folder.glob("*.json")) if self.folder.is_dir() else 0


def outgoing_of(letter: DeadLetter, sink: Sink) -> Any:
    """Return the request that a letter holds, rendered anew."""
    note = parse(base64.b64decode(letter.content["body"]), letter.content["source"])
    kept = letter.content["enrichment"]
    return sink.render(note, Enrichment.from_dict(kept) if kept else None)
