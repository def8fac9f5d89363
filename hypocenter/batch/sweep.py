"""A pass: the hours that are not done are rolled up, then ranked; last the tables of all hours and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ..errors import SourceError
from ..graph.cache import fill
from ..graph.engine import Engine, open_engine
from ..report.links import checked
from ..tracer.store import Store
from ..tracer.store.remote import store_at
from ..tracer.window import Window, hours
from .hour import analyse, around, is_done, key_of, name_of
from .page import write_page
from .results import Files, publish, written
from .tables import TABLES, combine, offenders, reliability

if TYPE_CHECKING:
    import plotly.graph_objects as go

_TABLES, _REPORTS = "tables", "reports"


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass did: hours analysed and skipped, hours that failed with why, and all incidents of the period."""

    analysed: int
    skipped: int
    failed: tuple[str, ...]
    incidents: pd.DataFrame
    page: Path

    def to_frame(self) -> pd.DataFrame:
        """Return the incidents, a row each (`hypocenter.batch.tables.TABLES`)."""
        return self.incidents.copy()

    def figure(self) -> go.Figure:
        """Return when it was felt where, and what was named for it."""
        from ..figures import state_timeline

        told = self.incidents
        named = told.origin.fillna("no clear origin")
        states = pd.DataFrame({"object": told.symptom, "state": named, "start": told.start, "end": told.end})
        events = pd.DataFrame({"time": pd.to_datetime([], utc=True), "object": [], "text": []})
        return state_timeline(states.assign(is_bad=True), events)

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        hours = f"{self.analysed} hours analysed, {self.skipped} unchanged{failed}"
        return f"<Pass: {hours}; {len(self.incidents)} incidents; {self.page}>"

    def _repr_html_(self) -> str:
        shown = self.incidents[["start", "symptom", "felt", "origin", "probability", "why"]]
        table = shown.to_html(index=False, escape=True, na_rep="", border=0)
        return f"<p>{escape(repr(self).strip('<>'))}</p>{table}"


@dataclass(frozen=True, slots=True)
class HourTask:
    """An hour to rank, as any worker that sees the store can do it."""

    store: str
    sample: int
    hour: Window
    ranker: str
    key: str
    links: Mapping[str, str]

    @property
    def name(self) -> str:
        """What its folder of results is called."""
        return name_of(self.hour)


def run(
    store: Store,
    out: Path,
    window: Window | None = None,
    ranker: str = "hypocenter",
    progress: Callable[[int, int, str], None] | None = None,
    engine: Engine | None = None,
    links: Mapping[str, str] | None = None,
) -> Pass:
    """Analyse the hours that ``window`` touches (None: all that there are); write tables and the page to ``out``.

    An hour whose segments did not change since an earlier pass is not analysed again, so a pass that was killed goes
    on where it ended, and a pass over the same data changes nothing. ``progress`` is told steps done, steps in all
    (two an hour), and the one at work. The engine rolls up hours and ranks their incidents, an hour a task; None is
    this process. A cluster's workers must see the store; results are written by this process alone.
    ``links`` are URL templates of the reports (`hypocenter.report.links`); ValueError for one that cannot be filled in.

    Raises
    ------
    SourceError
        The store holds no spans in the window, ``out`` cannot be written, or the cluster gives up.
    """
    held = store.bounds("spans")
    if held is None or (window is not None and (window.end_ns <= held.start_ns or held.end_ns <= window.start_ns)):
        raise SourceError(f"{store}: no spans {'at all' if held is None else f'in {window}; it holds {held}'}")
    asked = held if window is None else Window(max(window.start_ns, held.start_ns), min(window.end_ns, held.end_ns))
    parts, templates = out / "hours", checked(links or {})
    try:
        for folder in (parts, out / "reports"):
            folder.mkdir(parents=True, exist_ok=True)
        # Data that comes meanwhile makes another key, so its hours are done again.
        every = [
            HourTask(store.place, store.sample, hour, ranker, key_of(store, hour, ranker, templates), templates)
            for hour in hours(asked.start_ns, asked.end_ns)
        ]
        tasks = [task for task in every if not is_done(parts / task.name, task.key)]
        with nullcontext(engine) if engine else open_engine() as at_work:
            failed = _do(store, tasks, out, at_work, progress or (lambda *_: None))
        listed = [parts / task.name for task in every if task.name not in failed]
        tables = combine(listed)
        for name in TABLES:
            tables[name].to_parquet(out / f"{name}.parquet", index=False)
        summary = {"reliability": reliability(tables["edges"]), "offenders": offenders(tables["incidents"])}
        for name, frame in summary.items():
            frame.to_parquet(out / f"{name}.parquet", index=False)
        lines = tuple(f"{hour}: {problem}" for hour, problem in sorted(failed.items()))
        page = write_page(out / "index.html", asked, tables | summary, lines)
    except OSError as error:
        raise SourceError(f"{out}: cannot write the results: {error}", retryable=True) from error
    return Pass(len(tasks) - len(failed), len(every) - len(tasks), lines, tables["incidents"], page)


def _do(
    store: Store, tasks: list[HourTask], out: Path, engine: Engine, progress: Callable[[int, int, str], None]
) -> dict[str, str]:
    """Roll up and rank hours; return those that failed and why."""
    steps, failed = 2 * len(tasks), dict[str, str]()
    for at, task in enumerate(tasks):
        progress(at, steps, f"roll up {task.name}")
        if problem := _rolled_up(store, task, engine):
            failed[task.name] = problem
    ready = [task for task in tasks if task.name not in failed]
    for at, (task, found) in enumerate(zip(ready, engine.each(_ranked, ready), strict=True)):
        if isinstance(found, str):
            failed[task.name] = found
        else:
            _publish(found, out, task.name)
        progress(steps - len(ready) + at + 1, steps, f"ranked {task.name}")
    return failed


def _rolled_up(store: Store, task: HourTask, engine: Engine) -> str | None:
    try:
        fill(store, around(task.hour), engine)
    except SourceError as error:  # one bad hour must not cost the others; it is named and tried again
        return f"{type(error).__name__}: {error}"
    return None


def _ranked(task: HourTask) -> Files | str:
    """Return tables and reports of an hour, or why there are none."""

    def write(folder: Path) -> None:
        for name in (_TABLES, _REPORTS):
            (folder / name).mkdir()
        store = store_at(task.store, sample=task.sample)
        analyse(store, task.hour, task.ranker, folder / _TABLES, folder / _REPORTS, task.key, task.links)

    try:
        return written(write)
    except Exception as error:  # noqa: BLE001  as above, whatever the ranking met
        return f"{type(error).__name__}: {error}"


def _publish(files: Files, out: Path, hour: str) -> None:
    tables = {name.partition("/")[2]: files[name] for name in files if name.startswith(f"{_TABLES}/")}
    for name in files:
        if name.startswith(f"{_REPORTS}/"):
            (out / name).write_bytes(files[name])
    publish(tables, out / "hours" / hour)
