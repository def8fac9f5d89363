"""A store is listed once a question and once a pass, however many hours it holds: on object storage each costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pytest
from small_incident import ALERT_NS, START_NS, telemetry

from hypocenter.batch import run
from hypocenter.batch.alerts import Alert, rank_alerts
from hypocenter.graph import clock_skew
from hypocenter.graph.cache import fill, refresh, rollups, to_link
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.engine import duckdb_engine
from hypocenter.graph.log_rollup import log_rollup
from hypocenter.graph.ways import ways
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, Window

EVER = Window(0, 2**62)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often each signal is listed from now on."""
    counts: Counter[str] = Counter()
    list_all = Store._listed

    def counting(store: Store, signal: str):
        counts[signal] += 1
        return list_all(store, signal)

    monkeypatch.setattr(Store, "_listed", counting)
    return counts


def _store(path: Path, hours: int) -> Store:
    """Return a store of an incident and of a trace in each of the hours after it."""
    store, recorded = Store(path, create=True), telemetry()
    store.append(recorded, arrived_ns=START_NS)
    few = recorded.table("spans").slice(0, 6)
    for hour in range(1, hours):
        moved = few.set_column(
            few.schema.get_field_index("start_ns"), "start_ns", pc.add(few["start_ns"], hour * HOUR_NS)
        )
        store.append(Batch({"spans": moved.cast(few.schema)}), arrived_ns=START_NS + hour * HOUR_NS)
    return store


def _filled(store: Store) -> int:
    with duckdb_engine() as engine:
        return fill(store, EVER, engine)


QUESTIONS: dict[str, Callable[[Store], object]] = {
    "rollups": lambda store: rollups(store, EVER),
    "fill": _filled,
    "to_link": lambda store: to_link(store, EVER),
    "refresh": refresh,
    "graph": DependencyGraph.read,
    "graph by pod": lambda store: DependencyGraph.read(store, by="pod"),
    "skew": clock_skew.read,
    "ways": lambda store: ways(store, EVER, "payment"),
    "logs": lambda store: log_rollup(store, EVER),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_question_lists_a_signal_once(question: str, tmp_path: Path, listed: Counter[str]) -> None:
    store = _store(tmp_path / "store", hours=4)
    listed.clear()
    QUESTIONS[question](store)
    assert set(listed.values()) == {1}


def test_pass_lists_a_signal_once_and_each_process_that_ranks_once_more(tmp_path: Path, listed: Counter[str]) -> None:
    counts = []
    for hours in (2, 5):
        store = _store(tmp_path / f"{hours}", hours)
        listed.clear()
        assert run(store, tmp_path / f"out-{hours}").analysed == hours
        counts.append(dict(listed))
    assert counts[0] == counts[1] and set(counts[1].values()) == {2}


def test_many_alerts_list_a_signal_as_a_pass_does(tmp_path: Path, listed: Counter[str]) -> None:
    store = _store(tmp_path / "store", hours=4)
    listed.clear()
    alerts = [Alert(ALERT_NS + second * 10**9, "web") for second in range(22)]
    with duckdb_engine() as engine:
        found = rank_alerts(store, tmp_path / "out", alerts, engine)
    assert (len(found), set(listed.values())) == (22, {2})


def test_snapshot_is_listed_again_before_what_it_names_may_be_deleted(
    tmp_path: Path, listed: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("hypocenter.tracer.store.store.time.monotonic", lambda: now[0])
    store = _store(tmp_path / "store", hours=1)
    frozen = store.snapshot()
    assert frozen.snapshot() is frozen and store.snapshot() is not frozen
    seen = []
    for now[0] in (1.0, 2.0, 600.0, 602.0):
        store.append(telemetry(), arrived_ns=START_NS)
        seen.append(len(frozen.segments("spans")))
    assert seen == [2, 2, 2, 5]
    assert len(store.segments("spans")) == 5
