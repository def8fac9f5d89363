"""Changes of what is visible: small immutable records that add and remove segments at one stroke.

A record lies in ``<signal>/changes/``. The visible segments of a signal are those of its partitions and of all adds,
less all removes; so a reader sees a change whole or not at all, whatever is on the disk besides. Old records are merged
into one that says the same (`hypocenter.tracer.store.tidy`); it also remembers the names that were there.
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
    """Files that became visible and files that ceased to be, as paths below the folder of the signal.

    ``replaces`` are the names of records that this one says again; they may lie beside it for a while.
    """

    name: str
    at_ns: int
    adds: tuple[str, ...]
    removes: tuple[str, ...]
    replaces: tuple[str, ...] = ()


# Records are immutable: one read once stays true while it is there. By folder, then by name.
_read: dict[str, dict[str, Change]] = {}


def changes(signal_folder: Path) -> list[Change]:
    """Return the records of a signal, oldest first; SourceError for one that cannot be read."""
    folder = signal_folder / FOLDER
    while True:
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208  a Path for each record is slower
        except FileNotFoundError:
            return []
        known = _read.get(str(folder), {})
        try:
            found = {name: known.get(name) or _change(folder / name) for name in names}
        except FileNotFoundError:  # replaced meanwhile by one that is there now
            continue
        _read[str(folder)] = found
        return list(found.values())


def _change(path: Path) -> Change:
    try:
        content = json.loads(path.read_bytes())
        adds, removes, replaces = (tuple(content.get(key, ())) for key in ("adds", "removes", "replaces"))
        return Change(path.name, content["at_ns"], adds, removes, replaces)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # Without it segments could count twice or not at all.
        raise SourceError(f"{path}: expected a record of a change ({error}); restore it") from error


def removed_names(records: Iterable[Change]) -> set[str]:
    """Return the file names that are no longer visible, wherever they lie."""
    return {path.rpartition("/")[2] for record in records for path in record.removes}


def publish(
    signal_folder: Path,
    staging: Path,
    at_ns: int,
    *,
    adds: Sequence[str] = (),
    removes: Sequence[str] = (),
    replaces: Sequence[str] = (),
) -> None:
    """Make a change visible and durable; the files it adds must be durable already."""
    durable.make_folder(signal_folder / FOLDER, signal_folder)
    content = {"at_ns": at_ns, "adds": list(adds), "removes": list(removes), "replaces": list(replaces)}
    name = f"{durable.unique_name(at_ns)}.json"
    durable.write_whole(signal_folder / FOLDER / name, json.dumps(content).encode(), staging)
