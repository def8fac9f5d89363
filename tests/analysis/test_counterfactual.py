"""Counterfactual attribution by dowhy: where it is installed it finds whose noise made the symptom unusual."""

import networkx as nx
import numpy as np
import pytest
from test_ranker_contract import ALERT_NS, STEPS, metrics_of

from hypocenter.analysis.baselines.counterfactual import Counterfactual, causal_graph
from hypocenter.analysis.case import Case, Symptom
from hypocenter.errors import NotApplicable
from hypocenter.tracer.batch import Batch

CALLS = nx.DiGraph([("web", "cart"), ("web", "pay"), ("cart", "db")])


def case(shift: dict[str, float]) -> Case:
    """Return latencies in which each caller waits for its callees, and noises that jump at the alert by ``shift``."""
    random = np.random.default_rng(5)
    own = {s: 10 + random.normal(0, 1, STEPS) for s in ("web", "cart", "pay", "db")}
    for service, by in shift.items():
        own[service][120:] += by
    latency = {"db": own["db"], "pay": own["pay"]}
    latency["cart"] = own["cart"] + latency["db"]
    latency["web"] = own["web"] + latency["cart"] + latency["pay"]
    tables = metrics_of({f"{s}/latency": values for s, values in latency.items()})
    return Case(Batch(tables), ALERT_NS, symptom=Symptom("web", "latency"), topology=CALLS)


@pytest.fixture
def _dowhy() -> None:
    pytest.importorskip("dowhy", reason="the extra `counterfactual` is not installed")


@pytest.mark.usefixtures("_dowhy")
@pytest.mark.parametrize("origin", ["cart", "pay", "db"])
def test_node_whose_own_noise_jumped_comes_first(origin: str) -> None:
    ranking = Counterfactual().rank(case({origin: 30.0}))
    assert ranking.candidates[0].service == origin
    assert {c.service for c in ranking.candidates} == {"web", "cart", "pay", "db"}


@pytest.mark.usefixtures("_dowhy")
def test_same_case_gives_the_same_scores_and_leaves_numpys_generator_alone() -> None:
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    first = Counterfactual().rank(case({"db": 30.0}))
    assert np.random.random() == expected  # noqa: NPY002
    assert Counterfactual().rank(case({"db": 30.0})) == first


def test_calls_that_close_a_circle_are_no_causes() -> None:
    calls = nx.DiGraph([("web", "cart"), ("cart", "db"), ("db", "web"), ("cart", "cart"), ("other", "web")])
    assert sorted(causal_graph(calls, "web", {"web", "cart", "db", "other"}).edges) == [("cart", "web"), ("db", "cart")]


def test_without_a_graph_it_is_not_applicable() -> None:
    made = case({})
    with pytest.raises(NotApplicable, match="no call graph"):
        Counterfactual().rank(Case(made.telemetry, ALERT_NS, symptom=made.symptom))
