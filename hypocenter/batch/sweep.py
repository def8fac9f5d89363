"""A pass: the hours that are not done are rolled up, then ranked; last the tables of all hours and the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
from ..tracer.window import Window
from .budget import views
from .hour import analyse, around, hours_of, key_of, name_of, store_of_pass
from .page import page_of
from .results import Files, Results, written
from .tables import TABLES, count_of, joined, offenders, reliability

if TYPE_CHECKING:
    import plotly.graph_objects as go

_TABLES, _REPORTS, _PAGE = "tables", "reports", "index.html"


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass did: hours analysed and skipped, hours that failed with why, and all incidents of the period.

    ``samples`` are the hours of which not all was linked, each with how many traces one was taken of; ``page`` is a
    path or a URL, as the results' place is.
    """

    analysed: int
    skipped: int
    failed: tuple[str, ...]
    incidents: pd.DataFrame
    samples: Mapping[str, int]
    page: str

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
    begun_ns: int

    @property
    def name(self) -> str:
        """What the hour is called."""
        return name_of(self.hour)

    @property
    def folder(self) -> str:
        """Where its tables lie among the results: two passes at once do not mix theirs."""
        return f"hours/{self.name}/{self.key}"


def run(
    store: Store,
    out: Path | str,
    window: Window | None = None,
    ranker: str = "hypocenter",
    progress: Callable[[int, int, str], None] | None = None,
    engine: Engine | None = None,
    links: Mapping[str, str] | None = None,
    most_spans: int | None = None,
) -> Pass:
    """Analyse the hours that ``window`` touches (None: all that there are); write tables and the page to ``out``.

    An hour whose segments did not change since an earlier pass is not analysed again, so a pass that was killed goes
    on where it ended, and a pass over the same data changes nothing. ``out`` is a folder or ``s3://bucket/prefix``;
    the results of an hour are there once it is done. ``progress`` is told steps done, steps in all (two an hour), and
    what was done last. The engine rolls up hours and ranks their incidents, an hour a task; None is this process. A
    cluster's workers must see the store; results are written by this process alone.
    ``links`` are URL templates of the reports (`hypocenter.report.links`); ValueError for one that cannot be filled in.
    ``most_spans`` is the budget of an hour (`hypocenter.batch.budget.views`).

    Raises
    ------
    SourceError
        The store holds no spans in the window, ``out`` cannot be written, or the cluster gives up.
    """
    store, begun_ns = store.snapshot(), time.time_ns()
    held = store.bounds("spans")
    if held is None or (window is not None and (window.end_ns <= held.start_ns or held.end_ns <= window.start_ns)):
        raise SourceError(f"{store}: no spans {'at all' if held is None else f'in {window}; it holds {held}'}")
    asked = held if window is None else Window(max(window.start_ns, held.start_ns), min(window.end_ns, held.end_ns))
    results, templates = Results(out), checked(links or {})
    listed = hours_of(store, asked)
    seen = views(store, [around(hour) for hour in listed], most_spans)
    # Data that comes meanwhile makes another key, so its hours are done again.
    every = [
        HourTask(view.place, view.sample, hour, ranker, key_of(view, hour, ranker, templates), templates, begun_ns)
        for hour, view in zip(listed, seen, strict=True)
    ]
    todo = [(task, view) for task, view in zip(every, seen, strict=True) if not results.is_done(task.folder)]
    with nullcontext(engine) if engine else open_engine() as at_work:
        failed = _do(todo, results, at_work, progress or (lambda *_: None))
    done = [task for task in every if task.name not in failed]
    tables = {name: joined(results, name, [task.folder for task in done]).to_pandas() for name in TABLES}
    tables["reliability"], tables["offenders"] = reliability(tables["edges"]), offenders(tables["incidents"])
    for name, frame in tables.items():
        results.put(f"{name}.parquet", frame.to_parquet(index=False))
    lines = tuple(f"{hour}: {problem}" for hour, problem in sorted(failed.items()))
    results.put(_PAGE, page_of(asked, tables, lines).encode())
    samples = {task.name: task.sample for task in done if task.sample > 1}
    counts = len(todo) - len(failed), len(every) - len(todo)
    return Pass(*counts, lines, tables["incidents"], samples, f"{results.place}/{_PAGE}")


def _do(
    todo: Sequence[tuple[HourTask, Store]], results: Results, engine: Engine, progress: Callable[[int, int, str], None]
) -> dict[str, str]:
    """Roll up and rank hours; return those that failed and why."""
    steps, failed = 2 * len(todo), dict[str, str]()
    for at, (task, view) in enumerate(todo, 1):
        if problem := _rolled_up(view, task, engine):
            failed[task.name] = problem
        progress(at, steps, f"not rolled up {task.name}: {problem}" if problem else f"rolled up {task.name}")
    ready = [task for task, _ in todo if task.name not in failed]
    for at, (task, found) in enumerate(zip(ready, engine.each(_ranked, ready), strict=True), 1):
        if isinstance(found, str):
            failed[task.name] = told = found
        else:
            _publish(found, results, task)
            told = f"{count_of(found[f'{_TABLES}/incidents.parquet'])} incidents"
        progress(steps - len(ready) + at, steps, f"ranked {task.name}: {told}")
    return failed


def _rolled_up(store: Store, task: HourTask, engine: Engine) -> str | None:
    try:
        fill(store, around(task.hour), engine)
    except Exception as error:  # noqa: BLE001  one bad hour must not cost the others; it is named and tried again
        return f"{type(error).__name__}: {error}"
    return None


def _ranked(task: HourTask) -> Files | str:
    """Return tables and reports of an hour, or why there are none."""

    def write(folder: Path) -> None:
        for name in (_TABLES, _REPORTS):
            (folder / name).mkdir()
        store = store_of_pass(task.store, task.sample, task.begun_ns)
        analyse(store, task.hour, task.ranker, folder / _TABLES, folder / _REPORTS, task.links)

    try:
        return written(write)
    except Exception as error:  # noqa: BLE001  as above, whatever the ranking met
        return f"{type(error).__name__}: {error}"


def _publish(files: Files, results: Results, task: HourTask) -> None:
    """Put tables and reports of an hour; the reports' names begin with it."""
    tables, reports = f"{_TABLES}/", f"{_REPORTS}/{task.name}"
    placed = {
        f"{task.folder}/{name.removeprefix(tables)}" if name.startswith(tables) else name: content
        for name, content in files.items()
    }
    results.publish(placed, task.folder, replaced=(f"hours/{task.name}/", reports))
