"""What changes leave behind: replaced files, records that only grow in number, partitions that are empty."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from ..window import HOUR_NS
from . import changes, durable
from .changes import Change
from .partitions import hour_folders, partition
from .segment import COMPACTED, SUFFIX

# So many records older than the grace period are merged into one.
_SEVERAL = 16
# A segment that was given no name never comes again, so nobody asks whether it was there (`Store.append`).
_UNIQUE_NAME = re.compile(rf"\d{{20}}-\d+-[0-9a-f]{{12}}{re.escape(SUFFIX)}")


def tidy(signal_folder: Path, staging: Path, now_ns: int, grace_ns: int) -> None:
    """Delete what no reader of a signal can still hold after ``grace_ns``, and merge the records that say so.

    To be called under the lock of upkeep, from which a kill at any moment may take it. Each step leaves the same rows
    visible: a merged record says what those that it replaces say together, and these go a grace period later, when no
    listing that missed the new one can be under way.
    """
    records = changes.changes(signal_folder)
    _drop_orphans(signal_folder, records)
    old = [record for record in records if record.at_ns < now_ns - grace_ns]
    _delete(signal_folder, {path for record in old for path in record.removes})
    replaced = {name for record in old for name in record.replaces}
    durable.remove(signal_folder / changes.FOLDER / record.name for record in records if record.name in replaced)
    pending = {name for record in records for name in record.replaces}
    several = [record for record in old if record.name not in pending]
    if len(several) >= _SEVERAL:
        removed = {path for record in several for path in record.removes}
        merged = {record.name for record in several}
        added_elsewhere = {path for record in records if record.name not in merged for path in record.adds}
        changes.publish(
            signal_folder,
            staging,
            now_ns,
            adds=sorted({path for record in several for path in record.adds} - removed),
            removes=sorted(path for path in removed if path in added_elsewhere or not _is_unique(path)),
            replaces=sorted(merged),
        )
    _drop_empty_partitions(signal_folder, now_ns - grace_ns)


def _is_unique(path: str) -> bool:
    return _UNIQUE_NAME.fullmatch(path.rpartition("/")[2]) is not None


def _drop_orphans(folder: Path, records: Sequence[Change]) -> None:
    """Delete compacted files that no record made visible: their writer was killed before."""
    added = {path for record in records for path in record.adds}
    durable.remove(path for path in (folder / COMPACTED).glob(f"*{SUFFIX}") if f"{COMPACTED}/{path.name}" not in added)


def _delete(folder: Path, paths: set[str]) -> None:
    """Delete files so that a power cut does not bring them back when no record hides them any more."""
    gone = [folder / path for path in sorted(paths) if (folder / path).exists()]
    durable.remove(gone)
    for parent in dict.fromkeys(path.parent for path in gone):
        durable.sync(parent)


def _drop_empty_partitions(folder: Path, before_ns: int) -> None:
    """Remove hours that ended long ago and of which no file is left; a writer makes the one that it needs anew."""
    last = partition(max(0, before_ns - HOUR_NS))
    for hour in hour_folders(folder):
        if hour[len(str(folder)) + 1 :] < last:
            for empty in (Path(hour), Path(hour).parent):
                with contextlib.suppress(OSError):  # not empty
                    empty.rmdir()
