"""A file by which the outside tells a running process something, as a mounted ConfigMap does."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class JsonFile:
    """A small file that may change at any time, read again at most five times a second."""

    def __init__(self, path: str) -> None:
        self._path, self._value, self._checked, self._seen = Path(path), {}, 0.0, 0

    @property
    def value(self) -> dict[str, Any]:
        """What the file holds now."""
        if time.monotonic() - self._checked > 0.2:
            self._checked = time.monotonic()
            seen = self._path.stat().st_mtime_ns
            if seen != self._seen:
                self._value, self._seen = json.loads(self._path.read_text(encoding="utf-8")), seen
        return self._value


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Replace the file: a reader sees it whole, as it was or as it is."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value), encoding="utf-8")
    new.replace(path)
