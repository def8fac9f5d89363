"""Many alerts at once: each is ranked as its own incident, a few neighbours a task, over what a store holds."""

from __future__ import annotations

import contextlib
import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from .. import __version__
from ..analysis.incident import case_of
from ..analysis.onset import BASELINE_NS, EARLIEST_NS, INCIDENT_NS, LATEST_NS
from ..analysis.ranker import create
from ..errors import DecodeError, HypocenterError, SourceError
from ..graph.cache import fill
from ..graph.engine import Engine
from ..moments import moment_ns
from ..tracer.schema import SIGNALS
from ..tracer.store import Store
from ..tracer.store.remote import store_at
from ..tracer.window import SECOND_NS, Window, to_rfc3339
from .results import Files, publish, written
from .rows import answer, candidates
from .tables import joined, write_tables

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
    out: Path,
    alerts: Sequence[Alert],
    engine: Engine,
    ranker: str = "hypocenter",
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """Rank each alert; write ``incidents.parquet`` and ``candidates.parquet`` to ``out`` and return the incidents.

    Alerts of an earlier pass whose segments did not change are not ranked again. An alert that cannot be ranked has the
    outcome *failed* and says why.
    """
    ordered, parts = sorted(set(alerts)), out / "alerts"
    groups = [tuple(ordered[at : at + _TOGETHER]) for at in range(0, len(ordered), _TOGETHER)]
    try:
        parts.mkdir(parents=True, exist_ok=True)
        every = [AlertsTask(store.place, store.sample, one, ranker, _key(store, one, ranker)) for one in groups]
        tasks = [task for task in every if not (parts / task.key).is_dir()]
        _roll_up(store, tasks, engine)
        for at, (task, files) in enumerate(zip(tasks, engine.each(_ranked, tasks), strict=True), 1):
            publish(files, parts / task.key)
            if progress:
                progress(at * _TOGETHER, len(tasks) * _TOGETHER, "rank")
        found = {name: joined(name, [parts / task.key for task in every]) for name in _NAMES}
        for name in _NAMES:
            pq.write_table(found[name], out / f"{name}.parquet", compression="zstd")
    except OSError as error:
        raise SourceError(f"{out}: cannot write the results: {error}", retryable=True) from error
    return found["incidents"].to_pandas()


def _roll_up(store: Store, tasks: Sequence[AlertsTask], engine: Engine) -> None:
    """Have the engine keep the hours that alerts without a service are looked for in: tasks would each make their own.

    One that cannot be rolled up is met again, and told, by the alerts that need it.
    """
    for task in tasks:
        if not all(alert.service for alert in task.alerts):
            with contextlib.suppress(SourceError):
                fill(store, _reach(task.alerts), engine)


def _reach(alerts: Sequence[Alert]) -> Window:
    """Return the time that the rankings of neighbours look at."""
    return Window(alerts[0].at_ns - EARLIEST_NS - BASELINE_NS, alerts[-1].at_ns + max(1, LATEST_NS + INCIDENT_NS))


def _key(store: Store, alerts: tuple[Alert, ...], ranker: str) -> str:
    names = sorted(f"{s}/{segment.name}" for s in SIGNALS for segment in store.segments(s, _reach(alerts)))
    asked = [f"{alert.at_ns} {alert.service}" for alert in alerts]
    return hashlib.sha256(
        "\n".join([__version__, ranker, f"one in {store.sample}", *asked, *names]).encode()
    ).hexdigest()[:32]


def _ranked(task: AlertsTask) -> Files:
    store, rows = store_at(task.store, sample=task.sample), {name: list[dict[str, Any]]() for name in _NAMES}
    for alert in task.alerts:
        incident, found = _rank(store, alert, task.ranker)
        rows["incidents"].append(incident)
        rows["candidates"] += found
    return written(lambda folder: write_tables(folder, rows))


def _rank(store: Store, alert: Alert, ranker: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    at = to_rfc3339(alert.at_ns // SECOND_NS * SECOND_NS)
    name = f"{at.replace(':', '')}-{hashlib.sha256(f'{alert.at_ns} {alert.service}'.encode()).hexdigest()[:8]}"
    row: dict[str, Any] = {"incident": name, "start": alert.at_ns, "symptom": alert.service or None}
    try:
        case = case_of(store, at_ns=alert.at_ns, symptom=alert.service or None)
        ranking = create(ranker).rank(case)
    except HypocenterError as error:
        return row | {"outcome": "failed", "error": str(error)}, []
    return row | answer(ranking), list(candidates(name, ranking))
