"""Many alerts at once: each is ranked as its own incident, a few neighbours a task, over what a store holds."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import __version__
from ..analysis.incident import case_of
from ..analysis.onset import BASELINE_NS, EARLIEST_NS, INCIDENT_NS, LATEST_NS
from ..analysis.ranker import create
from ..analysis.ranking import Ranking
from ..errors import DecodeError, HypocenterError, SourceError
from ..graph.cache import fill
from ..graph.engine import Engine
from ..moments import moment_ns
from ..tracer.schema import SIGNALS
from ..tracer.store import Store
from ..tracer.window import SECOND_NS, Window, to_rfc3339
from .budget import views
from .hour import store_of_pass
from .results import Files, Results, written
from .rows import answer, candidates, is_passing
from .tables import joined, parquet, write_tables

# Neighbours in time read the same segments.
_TOGETHER = 20
_NAMES = ("incidents", "candidates")


@dataclass(frozen=True, slots=True, order=True)
class Alert:
    """When it was noticed, nanoseconds since the epoch, and the service where it hurts ("": find it)."""

    at_ns: int
    service: str = ""


@dataclass(frozen=True, slots=True)
class AlertsTask:
    """Some alerts to rank, as any worker that sees the store can do it; ``key`` names their results."""

    store: str
    sample: int
    alerts: tuple[Alert, ...]
    ranker: str
    key: str
    begun_ns: int

    @property
    def folder(self) -> str:
        """Where its tables lie among the results."""
        return f"alerts/{self.key}"


def read_alerts(path: Path) -> list[Alert]:
    """Return the alerts of a CSV file with the columns ``time`` (RFC 3339 or epoch) and, if known, ``service``.

    Raises DecodeError for a row that has no such time, naming its line.
    """
    alerts = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if "time" not in (reader.fieldnames or ()):
                raise DecodeError(str(path), "line 1", "expected the columns time and, if known, service")
            for row in reader:
                try:
                    alerts.append(Alert(moment_ns(row["time"]), row.get("service") or ""))
                except ValueError as error:
                    raise DecodeError(str(path), f"line {reader.line_num}", str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    return alerts


def rank_alerts(
    store: Store,
    out: Path | str,
    alerts: Sequence[Alert],
    engine: Engine,
    ranker: str = "hypocenter",
    progress: Callable[[int, int, str], None] | None = None,
    most_spans: int | None = None,
) -> pd.DataFrame:
    """Rank each alert; write ``incidents.parquet`` and ``candidates.parquet`` to ``out`` and return the incidents.

    Alerts of an earlier pass whose segments did not change are not ranked again. An alert that cannot be ranked has the
    outcome *failed* and says why; where that may pass, or was not foreseen, it is ranked again by the next pass.
    ``progress`` is told alerts done, alerts in all to do, and what was done last; ``most_spans`` is the budget of an
    hour that an alert without a service is looked for in (`hypocenter.batch.budget.views`).
    """
    store, begun_ns = store.snapshot(), time.time_ns()
    ordered, results = sorted(set(alerts)), Results(out)
    groups = [tuple(ordered[at : at + _TOGETHER]) for at in range(0, len(ordered), _TOGETHER)]
    seen = views(store, [_reach(group) for group in groups], most_spans)
    every = [
        AlertsTask(view.place, view.sample, group, ranker, _key(view, group, ranker), begun_ns)
        for group, view in zip(groups, seen, strict=True)
    ]
    todo = [(task, view) for task, view in zip(every, seen, strict=True) if not results.is_done(task.folder)]
    _roll_up(todo, engine)
    tasks, done = [task for task, _ in todo], 0
    for task, (files, is_final) in zip(tasks, engine.each(_ranked, tasks), strict=True):
        placed = {f"{task.folder}/{name}": content for name, content in files.items()}
        results.publish(placed, task.folder, is_final=is_final)
        done += len(task.alerts)
        if progress:
            first = to_rfc3339(task.alerts[0].at_ns)
            progress(done, sum(len(one.alerts) for one in tasks), f"ranked {len(task.alerts)} alerts from {first} on")
    found = {name: joined(results, name, [task.folder for task in every]) for name in _NAMES}
    for name in _NAMES:
        results.put(f"{name}.parquet", parquet(found[name]))
    return found["incidents"].to_pandas()


def _roll_up(todo: Sequence[tuple[AlertsTask, Store]], engine: Engine) -> None:
    """Have the engine keep the hours that alerts without a service are looked for in: tasks would each make their own.

    One that cannot be rolled up is met again, and told, by the alerts that need it.
    """
    for task, view in todo:
        if not all(alert.service for alert in task.alerts):
            with contextlib.suppress(Exception):
                fill(view, _reach(task.alerts), engine)


def _reach(alerts: Sequence[Alert]) -> Window:
    """Return the time that the rankings of neighbours look at."""
    return Window(alerts[0].at_ns - EARLIEST_NS - BASELINE_NS, alerts[-1].at_ns + max(1, LATEST_NS + INCIDENT_NS))


def _key(store: Store, alerts: tuple[Alert, ...], ranker: str) -> str:
    names = sorted(f"{s}/{segment.name}" for s in SIGNALS for segment in store.segments(s, _reach(alerts)))
    asked = [f"{alert.at_ns} {alert.service}" for alert in alerts]
    return hashlib.sha256(
        "\n".join([__version__, ranker, f"one in {store.sample}", *asked, *names]).encode()
    ).hexdigest()[:32]


def _ranked(task: AlertsTask) -> tuple[Files, bool]:
    """Return the tables of some alerts, and whether asking again would say the same."""
    rows, is_final = {name: list[dict[str, Any]]() for name in _NAMES}, True
    opened = functools.partial(store_of_pass, task.store, task.sample, task.begun_ns)
    for alert in task.alerts:
        row = _row(alert, task.sample)
        try:
            ranking = _rank(opened(), alert, task.ranker)
            row |= answer(ranking)
            found = list(candidates(row["incident"], ranking))
        except Exception as error:  # noqa: BLE001  one bad alert must not cost the others, whatever it met
            is_known = isinstance(error, HypocenterError)
            is_final &= is_known and not is_passing(error)
            reason = str(error) if is_known else f"{type(error).__name__}: {error}"
            row, found = row | {"outcome": "failed", "error": reason}, []
        rows["incidents"].append(row)
        rows["candidates"] += found
    return written(lambda folder: write_tables(folder, rows)), is_final


def _row(alert: Alert, sample: int) -> dict[str, Any]:
    at = to_rfc3339(alert.at_ns // SECOND_NS * SECOND_NS)
    name = f"{at.replace(':', '')}-{hashlib.sha256(f'{alert.at_ns} {alert.service}'.encode()).hexdigest()[:8]}"
    # Only an alert without a service is looked for in rollups.
    looked_for = {"sample": 1 if alert.service else sample, "symptom": alert.service or None}
    return {"incident": name, "start": alert.at_ns, **looked_for}


def _rank(store: Store, alert: Alert, ranker: str) -> Ranking:
    return create(ranker).rank(case_of(store, at_ns=alert.at_ns, symptom=alert.service or None))
