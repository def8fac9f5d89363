"""Partitions: a folder for each hour of arrival (UTC), so that one wrong clock cannot make unlimited folders."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from ..window import SECOND_NS


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
