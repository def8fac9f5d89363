"""Rollups of a window of a store, kept by the hour so that reading them does not depend on traffic."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..tracer.store import Store
from ..tracer.window import HOUR_NS, MINUTE_NS, SECOND_NS, Window, to_rfc3339
from .namespaces import told_apart
from .rollup import SCHEMAS, Rollups, merge, within
from .slices import roll_up_segments

# How far a trace may reach beyond the edge of an hour and still be linked whole.
OVERLAP_NS = 5 * MINUTE_NS
_FOLDER = "rollups"
# Part of a key: what other rules rolled up is not read.
_RULES = "4"


def rollups(store: Store, window: Window) -> Rollups:
    """Return the rollups of the 10 s steps that start in ``window``.

    Each hour is rolled up once and kept under the store's ``rollups/`` as Parquet, keyed by the segments that it
    covers; a late span makes a new segment, and its hour is rolled up anew. The hour that is still filling is rolled up
    as far as the window needs it and not kept, and neither is anything in a store that cannot be written.

    Notes
    -----
    A trace is linked as far as it lies within 5 minutes of the hour. Cost: reading the rows of the kept hours, and
    linking those that are not kept.
    """
    bounds = store.bounds("spans")
    if bounds is None:
        return merge([])
    first = max(window.start_ns, bounds.start_ns) // HOUR_NS
    last = (min(window.end_ns, bounds.end_ns) - 1) // HOUR_NS
    parts = []
    for number in range(first, last + 1):
        hour = Window(number * HOUR_NS, (number + 1) * HOUR_NS)
        paths = [segment.path for segment in store.segments("spans", _around(hour))]
        if not paths:
            continue
        folder = store.path / _FOLDER / _name(hour) / _key(paths)
        kept = _read(folder)
        if kept is None and hour.end_ns > bounds.end_ns:
            part = Window(max(hour.start_ns, window.start_ns), min(hour.end_ns, window.end_ns))
            kept = _roll_up(store, part)
        elif kept is None:
            kept = _roll_up(store, hour)
            _keep(folder, kept)
        parts.append(within(kept, window))
    return merge(told_apart(parts))


def refresh(store: Store) -> None:
    """Roll up the hours that ended lately, so that a ranking reads them, and drop those of which no span is left."""
    bounds = store.bounds("spans")
    if bounds is None:
        return
    first = _name(Window(bounds.start_ns // HOUR_NS * HOUR_NS, bounds.end_ns))
    folder = store.path / _FOLDER
    for older in folder.iterdir() if folder.is_dir() else ():
        if older.name < first:
            shutil.rmtree(older, ignore_errors=True)
    # One clock that is ahead must not move the hours that are asked for.
    last_hour_ns = min(bounds.end_ns, time.time_ns()) // HOUR_NS * HOUR_NS
    rollups(store, Window(last_hour_ns - 2 * HOUR_NS, last_hour_ns))


def _around(window: Window) -> Window:
    return Window(window.start_ns - OVERLAP_NS, window.end_ns + OVERLAP_NS)


def _roll_up(store: Store, window: Window) -> Rollups:
    around = _around(window)
    return within(roll_up_segments(store.paths("spans", around), around), window)


def _name(hour: Window) -> str:
    return to_rfc3339(hour.start_ns - hour.start_ns % SECOND_NS).replace(":00:00Z", "")


def _key(paths: list[Path]) -> str:
    return hashlib.sha256("\n".join([_RULES, *sorted(path.stem for path in paths)]).encode()).hexdigest()[:32]


def _read(folder: Path) -> Rollups | None:
    try:
        tables = {name: pq.read_table(folder / f"{name}.parquet", schema=schema) for name, schema in SCHEMAS.items()}
    except (OSError, pa.ArrowException):  # absent, replaced meanwhile, or damaged: it can be made again
        return None
    return Rollups(**tables)


def _keep(folder: Path, rollups: Rollups) -> None:
    """Publish an hour's tables at once, and remove those that it replaces."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    except OSError:  # a store that may only be read
        return
    try:
        for name in SCHEMAS:
            pq.write_table(getattr(rollups, name), staging / f"{name}.parquet", compression="zstd")
        for older in folder.parent.iterdir():
            if older != staging and not older.name.startswith("."):
                shutil.rmtree(older, ignore_errors=True)
        staging.replace(folder)
    except OSError:  # no room, or another process was faster
        shutil.rmtree(staging, ignore_errors=True)
