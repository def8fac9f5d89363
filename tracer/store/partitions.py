"""Partitions: a folder for each hour of arrival (UTC), so that one wrong clock cannot make unlimited folders."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from ..window import SECOND_NS


class ListedFolder:
    """The file names of a folder as of one moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed_ns = path.stat().st_mtime_ns
        # A change within the clock's grain of the listing could keep the time stamp: trust it only once it is old.
        self._is_settled = time.time_ns() - self._changed_ns > 2 * SECOND_NS
        self.names = {entry.name for entry in path.iterdir()}

    def is_current(self) -> bool:
        """Tell whether the names still hold."""
        return self._is_settled and self.path.stat().st_mtime_ns == self._changed_ns


def partition(arrived_ns: int) -> str:
    """Return the folder of an hour of arrival, below that of the signal."""
    return datetime.fromtimestamp(arrived_ns // SECOND_NS, UTC).strftime("date=%Y-%m-%d/hour=%H")


def hour_folders(folder: Path) -> list[str]:
    """Return the partitions of a signal, oldest first."""
    found = []
    for day in _subfolders(str(folder), "date="):
        found += _subfolders(day, "hour=")
    return found


def _subfolders(folder: str, prefix: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.name.startswith(prefix))
    except FileNotFoundError:
        return []
