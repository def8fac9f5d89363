"""Rollups of a window of a store, kept by the hour so that reading them does not depend on traffic."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..tracer.store import Store
from ..tracer.window import HOUR_NS, MINUTE_NS, SECOND_NS, Window, to_rfc3339
from .kept import COARSE, FINE, Kept
from .node_names import told_apart
from .rollup import SCHEMAS, Rollups, empty, joined, to_steps, within
from .slices import roll_up_segments

if TYPE_CHECKING:
    from .engine import Engine

# How far a trace may reach beyond the edge of an hour and still be linked whole.
OVERLAP_NS = 5 * MINUTE_NS
_FOLDER = "rollups"
# Part of a key: what other rules rolled up is not read.
_RULES = "8"


def rollups(
    store: Store, window: Window, *, coarse: bool = False, durations_of: Collection[str] = tuple(SCHEMAS)
) -> Rollups:
    """Return the rollups of the 10 s steps that start in ``window``.

    Each hour is rolled up once and kept under the store's ``rollups/`` as Parquet, keyed by the segments that it
    covers; a late span makes a new segment, and its hour is rolled up anew. The hour that is still filling is rolled up
    as far as the window needs it and not kept, and neither is anything in a store that cannot be written. The last hour
    of a recording, to which nothing has come for a while, is kept once all of it was asked for.

    Parameters
    ----------
    coarse
        Make the steps of an hour one, at the start of the hour, as far as they lie in ``window``.
    durations_of
        Tables whose histograms are read, which takes longest; those of kept hours are null in the others.

    Notes
    -----
    A trace is linked as far as it lies within 5 minutes of the hour. Cost: reading the rows of the kept hours, 360
    times fewer where they are coarse and whole, and linking those that are not kept.
    """
    store = store.snapshot()
    bounds = store.bounds("spans")
    if bounds is None:
        return empty()
    parts = []
    for hour in store.hours("spans", window):
        place = kept_of(store, hour)
        if place is None:
            continue
        part = Window(max(hour.start_ns, window.start_ns), min(hour.end_ns, window.end_ns))
        kept = place.read(COARSE, durations_of) if coarse and part == hour else None
        if kept is None:
            fine = place.read(FINE, durations_of)
            if fine is None and hour.end_ns > bounds.end_ns:
                fine = _roll_up(store, part)
                is_whole = part.start_ns <= max(hour.start_ns, bounds.start_ns) and bounds.end_ns <= part.end_ns
                if is_whole and bounds.end_ns < time.time_ns() - OVERLAP_NS:
                    place.write(fine)
            elif fine is None:
                fine = _roll_up(store, hour)
                place.write(fine)
            kept = within(fine, part)
            kept = to_steps(kept, HOUR_NS) if coarse else kept
        parts.append(kept)
    return joined(told_apart(parts))


def to_link(store: Store, window: Window) -> int:
    """Return about how many spans `rollups` has to link for a window: those of its hours that are not kept."""
    store = store.snapshot()
    waiting: dict[str, int] = {}
    for hour, _ in _not_kept(store, window):
        waiting |= {segment.name: segment.rows for segment in store.segments("spans", hour)}
    return sum(waiting.values())


def refresh(store: Store) -> None:
    """Roll up the hours that ended lately, so that a ranking reads them, and drop those of which no span is left."""
    store = store.snapshot()
    bounds = store.bounds("spans")
    if bounds is None:
        return
    held = {_name(hour) for hour in store.hours("spans")}
    for kept in store.path.glob(f"{_FOLDER}*/*") if store.filesystem is None else ():
        if kept.name not in held:
            shutil.rmtree(kept, ignore_errors=True)
    # One clock that is ahead must not move the hours that are asked for.
    last_hour_ns = min(bounds.end_ns, time.time_ns()) // HOUR_NS * HOUR_NS
    rollups(store, Window(last_hour_ns - 2 * HOUR_NS, last_hour_ns), coarse=True, durations_of=())


def fill(store: Store, window: Window, engine: Engine) -> int:
    """Roll up by an engine the hours that ``window`` touches and that are not kept; return how many.

    Whoever reads them then finds them, whichever engine wrote them. An hour that is still filling is kept too: its key
    are its segments, so it is read as long as none came since.
    """
    filled, store = 0, store.snapshot()
    for hour, place in _not_kept(store, window):
        place.write(_roll_up(store, hour, engine.roll_up))
        filled += 1
    return filled


def _not_kept(store: Store, window: Window) -> Iterator[tuple[Window, Kept]]:
    """Yield the hours with spans that ``window`` touches and that are not kept, each with its place."""
    for hour in store.hours("spans", window):
        place = kept_of(store, hour)
        if place is not None and not place.exists():
            yield hour, place


def _around(window: Window) -> Window:
    return Window(window.start_ns - OVERLAP_NS, window.end_ns + OVERLAP_NS)


def _roll_up(store: Store, window: Window, roll_up: Callable[..., Rollups] = roll_up_segments) -> Rollups:
    around = _around(window)
    return within(roll_up(store.paths("spans", around), around, sample=store.sample), window)


def _name(hour: Window) -> str:
    return to_rfc3339(hour.start_ns - hour.start_ns % SECOND_NS).replace(":00:00Z", "")


def _key(paths: list[Path]) -> str:
    return hashlib.sha256("\n".join([_RULES, *sorted(path.stem for path in paths)]).encode()).hexdigest()[:32]


def kept_of(store: Store, hour: Window) -> Kept | None:
    """Return where the rollups of a whole hour are kept; None without spans in or around it."""
    paths = [segment.path for segment in store.segments("spans", _around(hour))]
    kept = _FOLDER if store.sample == 1 else f"{_FOLDER}-one-in-{store.sample}"
    return Kept(store.path / kept / _name(hour) / _key(paths), store.filesystem) if paths else None
