"""Changes of what is visible: small immutable records that add and remove segments at one stroke.

A record lies in ``<signal>/changes/``. The visible segments of a signal are those of its partitions and of all adds,
less all removes; so a reader sees a change whole or not at all, whatever is on the disk besides. Records are kept:
they also remember the names that were there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypocenter.errors import SourceError

from . import durable

FOLDER = "changes"


@dataclass(frozen=True, slots=True)
class Change:
    """Files that became visible and files that ceased to be, as paths below the folder of the signal."""

    at_ns: int
    adds: tuple[str, ...]
    removes: tuple[str, ...]


# Records are immutable: one read once stays true for the life of the process.
_read: dict[str, Change] = {}


def changes(signal_folder: Path) -> list[Change]:
    """Return the records of a signal, oldest first; SourceError for one that cannot be read."""
    try:
        paths = sorted(str(path) for path in (signal_folder / FOLDER).iterdir())
    except FileNotFoundError:
        return []
    for path in paths:
        if path not in _read:
            try:
                content = json.loads(Path(path).read_bytes())
                _read[path] = Change(content["at_ns"], tuple(content["adds"]), tuple(content["removes"]))
            except (OSError, ValueError, KeyError, TypeError) as error:
                # Without it segments could count twice or not at all.
                raise SourceError(f"{path}: expected a record of a change ({error}); restore it") from error
    return [_read[path] for path in paths]


def removed_names(records: Iterable[Change]) -> set[str]:
    """Return the file names that are no longer visible, wherever they lie."""
    return {path.rpartition("/")[2] for record in records for path in record.removes}


def publish(
    signal_folder: Path, staging: Path, at_ns: int, *, adds: Sequence[str] = (), removes: Sequence[str] = ()
) -> None:
    """Make a change visible and durable; the files it adds must be durable already."""
    durable.make_folder(signal_folder / FOLDER, signal_folder)
    content = json.dumps({"at_ns": at_ns, "adds": list(adds), "removes": list(removes)}).encode()
    name = f"{at_ns:020d}-{os.getpid()}-{os.urandom(6).hex()}.json"
    durable.write_whole(signal_folder / FOLDER / name, content, staging)


def expire(signal_folder: Path, before_ns: int) -> None:
    """Delete the files that records older than ``before_ns`` removed: no reader still holds them."""
    for record in changes(signal_folder):
        if record.at_ns < before_ns:
            durable.remove(signal_folder / path for path in record.removes)
