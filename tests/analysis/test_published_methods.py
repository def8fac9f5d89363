"""The published methods on examples small enough to work out by hand; peers: tests/real/test_peers.py."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest

from hypocenter.analysis.baselines import circa, micro_rank, monitor_rank, scores, trace_rca
from hypocenter.analysis.baselines.bayesian_change_point import change_points
from hypocenter.analysis.baselines.monitor_rank import stationary
from hypocenter.analysis.case import Case, Symptom
from hypocenter.analysis.ranker import create
from hypocenter.errors import ConvergenceError, NotApplicable
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import LOGS, POINTS, SERIES, SPANS

S = 10**9
ALERT_NS = 1_000 * S


def metrics(values: dict[str, list[float]], step_s: int = 10) -> Batch:
    """Return ``{"service/name": values}``, a value each 10 s, the alert before the last two."""
    series = [
        dict.fromkeys(SERIES.names)
        | {"series_id": k, "service": k.split("/")[0], "name": k.split("/")[1], "kind": "gauge", "source": "test"}
        for k in values
    ]
    points = [
        {"series_id": k, "time_ns": ALERT_NS + (i - len(v) + 2) * step_s * S, "value": x, "histogram": None}
        for k, v in values.items()
        for i, x in enumerate(v)
    ]
    return Batch({"series": pa.Table.from_pylist(series, SERIES), "points": pa.Table.from_pylist(points, POINTS)})


def test_prism_puts_the_service_that_is_odd_inside_and_outside_above_its_victim() -> None:
    quiet = [1.0, 3.0] * 5  # mean 2, deviation 1
    case = Case(
        metrics(
            {
                "pay/cpu": [*quiet, 6.0, 6.0],  # z 4
                "pay/latency": [*quiet, 6.0, 6.0],  # z 4
                "web/cpu": [*quiet, 2.0, 2.0],  # z 0
                "web/latency": [*quiet, 9.0, 9.0],  # z 7
            }
        ),
        ALERT_NS,
    )
    expected = [("pay", 8 - np.log(9)), ("web", 7 - np.log(8))]
    assert create("prism").rank(case).services() == [(s, pytest.approx(v)) for s, v in expected]


def test_circa_explains_the_caller_by_its_callee() -> None:
    noise = np.tile([0.0, 1.0, 3.0, 2.0], 5)
    callee = [*(10 + noise), 60.0, 60.0]
    caller = [x * 2 + 5 for x in callee]
    case = Case(
        metrics({"db/latency": list(map(float, callee)), "web/latency": caller}),
        ALERT_NS,
        topology=nx.DiGraph([("web", "db")]),
    )
    ranking = create("circa").rank(case)
    assert [s for s, _ in ranking.services()] == ["db", "web"]
    (_, db), (_, web) = ranking.services()
    # The callee has no parent: its residual is its deviation, |60 - 11.5| / std of 10, 11, 13, 12.
    assert db == pytest.approx(48.5 / np.std([10, 11, 13, 12]))
    assert web < 0.1


@pytest.mark.filterwarnings("error")
def test_circa_lets_a_parent_that_was_constantly_zero_explain_nothing() -> None:
    quiet = [10.0, 11.0, 13.0, 12.0] * 5
    case = Case(
        metrics({"db/latency": [0.0] * 20 + [60.0, 60.0], "web/latency": [*quiet, 60.0, 60.0]}),
        ALERT_NS,
        topology=nx.DiGraph([("web", "db")]),
    )
    found = dict(create("circa").rank(case).services())
    alone = dict(create("circa").rank(replace(case, topology=nx.DiGraph([("web", "x")]))).services())
    assert found["web"] == pytest.approx(alone["web"])


def test_circa_adds_the_children_of_an_anomalous_parent() -> None:
    node = [("db", "latency"), ("web", "latency"), ("shop", "latency")]
    parents = {node[0]: [], node[1]: [node[0]], node[2]: [node[1]]}
    adjusted = circa._adjust({node[0]: 5.0, node[1]: 7.0, node[2]: 2.0}, parents)
    assert adjusted == {node[0]: 12.0, node[1]: 7.0, node[2]: 2.0}


def chain() -> Case:
    """Return web -> cart -> db, in which all three move at the alert, db most, and pay that nobody called."""
    rise, quiet = [1.0, 2.0, 3.0, 2.0, 1.0, 3.0], [2.0] * 6
    values = {
        "web/latency": [*rise, 8.0, 9.0],
        "cart/latency": [*rise, 20.0, 23.0],
        "db/latency": [*rise[::-1], 90.0, 99.0],
        "pay/latency": [*quiet, 2.0, 2.0],
    }
    calls = nx.DiGraph([("web", "cart"), ("cart", "db"), ("web", "pay")])
    return Case(metrics(values), ALERT_NS, symptom=Symptom("web"), topology=calls)


def test_n_sigma_is_the_farthest_point_in_deviations_of_the_normal_window() -> None:
    case = Case(metrics({"pay/cpu": [*[1.0, 3.0] * 5, 4.0, 6.0], "web/cpu": [*[1.0, 3.0] * 5, 2.0, -1.0]}), ALERT_NS)
    # Mean 2, deviation 1.
    assert create("n-sigma").rank(case).services() == [("pay", pytest.approx(4.0)), ("web", pytest.approx(3.0))]


def test_traversal_ends_at_the_anomalous_node_without_anomalous_callees() -> None:
    services = [s for s, _ in create("traversal").rank(chain()).services()]
    assert (services[0], services[-1]) == ("db", "pay")


def test_correlation_orders_the_anomalous_nodes_that_the_traversal_reached() -> None:
    found = dict(create("correlation-traversal").rank(chain()).services())
    similarity = scores.symptom_similarity(chain(), "web")
    assert found == {
        "web": pytest.approx(1 + similarity["web"]),
        "cart": pytest.approx(1 + similarity["cart"]),
        "db": pytest.approx(1 + similarity["db"]),
        "pay": pytest.approx(similarity["pay"]),
    }


def test_monitor_rank_is_the_stationary_share_of_its_walk_on_two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_rank, "symptom_similarity", lambda case, symptom: {"web": 0.2, "cart": 0.8})
    same = {"web/latency": [1.0] * 8, "cart/latency": [1.0] * 8}
    case = Case(metrics(same), ALERT_NS, symptom=Symptom("web"), topology=nx.DiGraph([("web", "cart")]))
    found = dict(create("monitor-rank").rank(case).services())
    # From web only on to cart (0.8; it stays with max(0, 0.2 - 0.8)); from cart back with 0.3 * 0.2, it stays with 0.8.
    # One step in ten is a teleport by similarity. The peer is networkx's matrix of the same walk, solved by numpy.
    walk = nx.DiGraph()
    walk.add_weighted_edges_from([("web", "cart", 0.8), ("cart", "web", 0.06), ("cart", "cart", 0.8)])
    peer = nx.google_matrix(walk, alpha=0.9, personalization={"web": 0.2, "cart": 0.8}, nodelist=["web", "cart"])
    values, vectors = np.linalg.eig(np.asarray(peer).T)
    share = np.real(vectors[:, np.argmax(np.real(values))])
    assert found == {n: pytest.approx(s) for n, s in zip(("web", "cart"), share / share.sum(), strict=True)}


def test_walk_that_cannot_settle_says_so() -> None:
    with pytest.raises(ConvergenceError, match="2 nodes"):
        stationary(np.array([[np.nan, 1.0], [1.0, 0.0]]))


def spans(traces: list[list[tuple[str, int]]], start_s: int) -> list[dict[str, object]]:
    """Return traces of (service, milliseconds): the first is the root, the others its children, one second apart."""
    rows = []
    for number, members in enumerate(traces):
        for index, (service, ms) in enumerate(members):
            row = dict.fromkeys(SPANS.names) | {"trace_id": f"{start_s}-{number}", "span_id": str(index), "kind": 2}
            row |= {"parent_span_id": "0" if index else None, "service": service, "name": "op", "status": 0}
            row |= {"start_ns": (start_s + number) * S, "duration_ns": ms * 10**6, "adjusted_milli": 1000}
            rows.append(row | {"source": "test"})
    return rows


USUAL = [[("web", 40), ("cart", 10), ("pay", 10)], [("web", 40), ("cart", 10)]] * 20
BAD = [[("web", 340), ("cart", 10), ("pay", 300)]] * 6 + [[("web", 40), ("cart", 10)]] * 6


@pytest.fixture
def traced() -> Case:
    table = pa.Table.from_pylist(spans(USUAL, 900) + spans(BAD, 1000), SPANS)
    return Case(Batch({"spans": table}), ALERT_NS, symptom=Symptom("web"))


def test_trace_rca_multiplies_the_best_set_with_the_share_of_slow_calls(traced: Case) -> None:
    # {pay}, {web, pay}: support 1, confidence 1; every call of pay is slow, of web one half, of cart none.
    found = dict(trace_rca.TraceRca().rank(traced).services())
    assert found == {"pay": pytest.approx(1.0), "web": pytest.approx(0.5), "cart": pytest.approx(0.0)}


def test_micro_rank_prefers_what_only_abnormal_traces_hold(traced: Case) -> None:
    assert micro_rank.MicroRank().rank(traced).services()[0][0] == "pay"


def test_micro_rank_without_abnormal_traces_is_not_applicable() -> None:
    table = pa.Table.from_pylist(spans(USUAL, 900) + spans(USUAL[:8], 1000), SPANS)
    with pytest.raises(NotApplicable, match="no trace is slower"):
        micro_rank.MicroRank().rank(Case(Batch({"spans": table}), ALERT_NS))


def test_simple_rca_sums_the_shares_of_three_votes(traced: Case) -> None:
    log = dict.fromkeys(LOGS.names) | {"time_ns": 1001 * S, "severity": 9, "service": "cart", "source": "test"}
    lines = [log | {"body": "ERROR no stock"}, log | {"body": "sold", "service": "web"}]
    tables = {"spans": traced.telemetry.table("spans"), "logs": pa.Table.from_pylist(lines, LOGS)}
    tables |= metrics({"pay/cpu": [*[1.0, 3.0] * 5, 9.0, 9.0], "web/cpu": [*[1.0, 3.0] * 5, 2.0, 2.0]}).tables
    found = dict(create("simple-rca").rank(Case(Batch(tables), ALERT_NS)).services())
    # Metrics: pay. Slow spans: pay and web. Lines of failure: cart.
    assert found == {"pay": pytest.approx(1.5), "web": pytest.approx(0.5), "cart": pytest.approx(1.0)}


def test_change_point_is_found_where_the_mean_moves_in_several_series_at_once() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0.2, 0.02, (120, 3))
    values[70:, :2] += 0.6
    assert change_points(values) == [70]


def test_baro_scores_from_the_onset_it_finds_not_from_a_late_alert() -> None:
    rng = np.random.default_rng(5)
    quiet = rng.normal(10, 0.5, (2, 120))
    late = {"web/latency": quiet[0].tolist(), "pay/latency": quiet[1].tolist()}
    late["pay/latency"][60:70] = (quiet[1][60:70] + 40).tolist()  # over before the alert
    late["web/latency"][60:] = (quiet[0][60:] + 8).tolist()
    case = Case(metrics(late, step_s=1), ALERT_NS)
    first = {name: create(name).rank(case).services()[0][0] for name in ("baro", "robust")}
    assert first == {"baro": "pay", "robust": "web"}


def test_similarity_with_the_symptom_is_correlation_with_its_most_moved_series() -> None:
    rise = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 8.0, 9.0]
    case = Case(
        metrics({"web/latency": rise, "pay/cpu": [3 * x + 1 for x in rise], "cart/cpu": [1.0, 1, 2, 2, 1, 1, 2, 1]}),
        ALERT_NS,
        symptom=Symptom("web"),
    )
    found = scores.symptom_similarity(case, "web")
    assert (found["pay"], found["web"]) == (pytest.approx(1.0), 0.0)
    assert found["cart"] < 0.5
