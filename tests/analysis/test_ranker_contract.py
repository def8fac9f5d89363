"""The contract that every registered ranker keeps, in the spirit of river's estimator checks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest

from hypocenter.analysis.case import Case, Symptom
from hypocenter.analysis.ranker import create, names
from hypocenter.analysis.ranking import Ranking
from hypocenter.errors import NotApplicable
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import POINTS, SERIES, SPANS

ALERT_NS = 1_700_000_000 * 10**9
STEP_NS = 15 * 10**9
STEPS = 160  # 30 minutes before the alert, 10 after
CHAIN = (("web", "cart"), ("web", "pay"), ("cart", "db"))


def metrics_of(values: Mapping[str, np.ndarray], shift_ns: int = 0) -> dict[str, pa.Table]:
    """Return series and points of ``{"service/metric": values}``, one value a step."""
    series, points = [], []
    for key, column in values.items():
        service, _, name = key.partition("/")
        row = dict.fromkeys(SERIES.names) | {"series_id": key, "name": name, "service": service}
        series.append(row | {"kind": "gauge", "source": "test"})
        times = ALERT_NS + shift_ns + (np.arange(len(column)) - 120) * STEP_NS
        points += [
            {"series_id": key, "time_ns": int(t), "value": None if np.isnan(v) else float(v), "histogram": None}
            for t, v in zip(times, column, strict=True)
        ]
    return {"series": pa.Table.from_pylist(series, SERIES), "points": pa.Table.from_pylist(points, POINTS)}


def spans_of(slow: str, shift_ns: int = 0, services: tuple[str, ...] = ("web", "cart", "pay")) -> pa.Table:
    """Return traces of web -> cart and web -> pay each step, in which ``slow`` is ten times slower after the alert."""
    rows = []
    for step in range(STEPS):
        start = ALERT_NS + shift_ns + (step - 120) * STEP_NS
        for index, service in enumerate(services):
            own = 10 * 10**6 * (10 if service == slow and step >= 120 else 1) + step % 7 * 10**5
            client = {"span_id": f"{index}c", "parent_span_id": "0s", "service": services[0], "kind": 3}
            server = {"span_id": f"{index}s", "parent_span_id": f"{index}c" if index else None, "service": service}
            for span in ([client] if index else []) + [server | {"kind": 2}]:
                row = dict.fromkeys(SPANS.names) | {"trace_id": f"{step:04x}", "name": f"op-{service}", "status": 0}
                duration = own * (3 if not index else 1) + (10**6 if "c" in span["span_id"] else 0)
                row |= {"start_ns": start + index * 10**5, "duration_ns": duration, "adjusted_milli": 1000}
                rows.append(row | {"source": "test"} | span)
    return pa.Table.from_pylist(rows, SPANS)


def series(seed: int = 3, services: tuple[str, ...] = ("web", "cart", "pay", "db")) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for service in services:
        found[f"{service}/latency"] = 20 + rng.random(STEPS)
        found[f"{service}/cpu"] = 0.3 + 0.05 * rng.random(STEPS)
    found[f"{services[0]}/latency"][120:] += 40 + 5 * rng.random(STEPS - 120)
    found[f"{services[1]}/latency"][120:] += 90 + 5 * rng.random(STEPS - 120)
    found[f"{services[1]}/cpu"][120:] += 0.5
    return found


def case_of(
    values: Mapping[str, np.ndarray],
    edges: tuple[tuple[str, str], ...] = CHAIN,
    spans: pa.Table | None = None,
    shift_ns: int = 0,
) -> Case:
    tables = metrics_of(values, shift_ns) if values else {}
    if spans is not None:
        tables["spans"] = spans
    return Case(Batch(tables), ALERT_NS + shift_ns, symptom=Symptom(edges[0][0]), topology=nx.DiGraph(edges))


def rank(name: str, case: Case) -> Ranking:
    try:
        return create(name).rank(case)
    except NotApplicable as error:
        return Ranking(name, "not-applicable", error=str(error))


def order(ranking: Ranking) -> list[tuple[str, float]]:
    return [(service, round(score, 6)) for service, score in ranking.services()]


PLAIN = {
    "metrics": lambda: case_of(series()),
    "metrics and traces": lambda: case_of(series(), spans=spans_of("cart")),
    "traces": lambda: case_of({}, spans=spans_of("cart")),
}
HARD = {
    "constant": lambda: case_of({key: np.full(STEPS, 7.0) for key in series()}),
    "constant zero": lambda: case_of({key: np.zeros(STEPS) for key in series()}),
    "all unknown": lambda: case_of({key: np.full(STEPS, np.nan) for key in series()}),
    "half unknown": lambda: case_of({k: np.where(np.arange(STEPS) % 2, v, np.nan) for k, v in series().items()}),
    "unknown after the alert": lambda: case_of(
        {k: np.where(np.arange(STEPS) < 120, v, np.nan) for k, v in series().items()}
    ),
    "nothing before the alert": lambda: case_of(
        {k: np.where(np.arange(STEPS) >= 120, v, np.nan) for k, v in series().items()}
    ),
    "cycle": lambda: case_of(series(), (("web", "cart"), ("cart", "db"), ("db", "web"), ("pay", "pay"))),
    "one service": lambda: case_of({"web/cpu": series()["cart/cpu"]}, (("web", "web"),)),
    "two points": lambda: case_of({k: v[119:121] for k, v in series().items()}),
}


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("kind", PLAIN)
def test_same_case_gives_the_same_ranking_and_stays_as_it_was(name: str, kind: str) -> None:
    case = PLAIN[kind]()
    before = dict(case.telemetry.tables)
    first, second = rank(name, case), rank(name, PLAIN[kind]())
    assert first.to_dict() == second.to_dict()
    assert all(case.telemetry.tables[signal].equals(table) for signal, table in before.items())


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("kind", PLAIN | HARD)
def test_candidates_are_unique_services_with_scores_that_fall(name: str, kind: str) -> None:
    ranking = rank(name, (PLAIN | HARD)[kind]())
    entities = [(c.kind, c.entity) for c in ranking.candidates]
    scores = [c.score for c in ranking.candidates]
    assert len(entities) == len(set(entities))
    assert not any(math.isnan(score) or score == math.inf for score in scores)
    assert scores == sorted(scores, reverse=True)
    shares = [c.probability for c in ranking.candidates if c.probability is not None]
    assert all(0 <= share <= 1 for share in shares)
    assert ranking.outcome in ("ranked", "no-origin", "not-applicable")
    assert bool(ranking.error) == (ranking.outcome == "not-applicable")


@pytest.mark.parametrize("name", [n for n in names() if n != "random"])
def test_order_of_series_changes_nothing(name: str) -> None:
    values = series()
    backwards = dict(reversed(list(values.items())))
    assert order(rank(name, case_of(values))) == order(rank(name, case_of(backwards)))


@pytest.mark.parametrize("name", [n for n in names() if n != "random"])
def test_names_of_services_carry_no_meaning(name: str) -> None:
    new = {"web": "zeta", "cart": "alpha", "pay": "mu", "db": "omega"}
    renamed = {f"{new[k.split('/')[0]]}/{k.split('/')[1]}": v for k, v in series().items()}
    edges = tuple((new[a], new[b]) for a, b in CHAIN)
    plain = [(new[s], score) for s, score in order(rank(name, case_of(series())))]
    other = order(rank(name, case_of(renamed, edges)))
    assert sorted(plain, key=lambda x: (-x[1], x[0])) == sorted(other, key=lambda x: (-x[1], x[0]))


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("kind", ["metrics", "traces"])
def test_shift_of_all_times_changes_nothing(name: str, kind: str) -> None:
    day_ns = 86_400 * 10**9
    plain, shifted = (
        case_of(
            series() if kind == "metrics" else {}, spans=spans_of("cart", t) if kind == "traces" else None, shift_ns=t
        )
        for t in (0, day_ns)
    )
    assert order(rank(name, plain)) == order(rank(name, shifted))


@pytest.mark.parametrize("name", names())
def test_nothing_to_look_at_is_not_applicable_rather_than_an_order(name: str) -> None:
    ranking = rank(name, Case(Batch(), ALERT_NS))
    assert (ranking.outcome, ranking.candidates) == ("not-applicable", ())


def test_plain_case_is_solved_by_every_method_that_looks() -> None:
    case = PLAIN["metrics and traces"]()
    firsts = {name: rank(name, case).services()[0][0] for name in names() if name != "random"}
    assert firsts == dict.fromkeys(firsts, "cart")
