"""A pass: hour by hour, skipping what is done, then the tables of all hours and the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..errors import SourceError
from ..tracer.store import Store
from ..tracer.window import HOUR_NS, Window
from .hour import analyse, key_of, name_of
from .page import write_page
from .tables import TABLES, combine, offenders, reliability

_DONE = "done.json"


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass did: hours analysed and skipped, hours that failed with why, and all incidents of the period."""

    analysed: int
    skipped: int
    failed: tuple[str, ...]
    incidents: pd.DataFrame
    page: Path


def run(
    store: Store,
    out: Path,
    window: Window | None = None,
    ranker: str = "hypocenter",
    progress: Callable[[int, int, str], None] | None = None,
) -> Pass:
    """Analyse the hours that ``window`` touches (None: all that there are); write tables and the page to ``out``.

    An hour whose segments did not change since an earlier pass is not analysed again, so a pass that was killed goes
    on where it ended, and a pass over the same data changes nothing. ``progress`` is told hours done, hours in all, and
    the hour at work.

    Raises
    ------
    SourceError
        The store holds no spans in the window, or ``out`` cannot be written.
    """
    held = store.bounds("spans")
    if held is None or (window is not None and (window.end_ns <= held.start_ns or held.end_ns <= window.start_ns)):
        raise SourceError(f"{store.path}: no spans {'at all' if held is None else f'in {window}; it holds {held}'}")
    asked = held if window is None else Window(max(window.start_ns, held.start_ns), min(window.end_ns, held.end_ns))
    numbers = range(asked.start_ns // HOUR_NS, -(-asked.end_ns // HOUR_NS))
    hours, reports = out / "hours", out / "reports"
    done, skipped, failed = 0, 0, []
    try:
        for folder in (hours, reports):
            folder.mkdir(parents=True, exist_ok=True)
        listed = []
        for index, number in enumerate(numbers):
            hour = Window(number * HOUR_NS, (number + 1) * HOUR_NS)
            folder = hours / name_of(hour)
            if progress:
                progress(index, len(numbers), folder.name)
            key = key_of(store, hour, ranker)
            if _is_done(folder, key):
                skipped += 1
            else:
                problem = _try(store, hour, ranker, folder, reports)
                if problem is not None:
                    failed.append(f"{folder.name}: {problem}")
                    continue
                (folder / _DONE).write_text(json.dumps({"key": key}), encoding="utf-8")
                done += 1
            listed.append(folder)
        tables = combine(listed)
        for name in TABLES:
            tables[name].to_parquet(out / f"{name}.parquet", index=False)
        summary = {"reliability": reliability(tables["edges"]), "offenders": offenders(tables["incidents"])}
        for name, frame in summary.items():
            frame.to_parquet(out / f"{name}.parquet", index=False)
        page = write_page(out / "index.html", asked, tables | summary, failed)
    except OSError as error:
        raise SourceError(f"{out}: cannot write the results: {error}", retryable=True) from error
    return Pass(done, skipped, tuple(failed), tables["incidents"], page)


def _is_done(folder: Path, key: str) -> bool:
    try:
        return bool(json.loads((folder / _DONE).read_text(encoding="utf-8"))["key"] == key)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _try(store: Store, hour: Window, ranker: str, folder: Path, reports: Path) -> str | None:
    try:
        analyse(store, hour, ranker, folder, reports)
    except OSError:
        raise  # of the results: the next hour would not fare better
    except Exception as error:  # noqa: BLE001  one bad hour must not cost the others; it is named and tried again
        shutil.rmtree(folder.with_name(f".{folder.name}"), ignore_errors=True)
        return f"{type(error).__name__}: {error}"
    return None
