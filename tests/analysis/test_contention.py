"""Pods on one node's processors: who takes most of their time, and who waits for it."""

import numpy as np
import pyarrow as pa
import pytest
from test_ranker_contract import ALERT_NS, STEP_NS, STEPS, metrics_of

from hypocenter.analysis.evidence.saturation import Saturation
from hypocenter.analysis.evidence.series import read_series
from hypocenter.analysis.onset import Split

NODES = {"busy": ("cart", "pay", "web"), "idle": ("mail", "stock", "tax")}
SERVICES = sorted(name for names in NODES.values() for name in names)
NOW = Split(ALERT_NS - 120 * STEP_NS, ALERT_NS, ALERT_NS + 20 * STEP_NS, 0.0)
USED, OF_LIMIT = "container_cpu_usage_cores", "pod_cpu_limit_utilization_ratio"


def scores(cores: dict[str, float], *, more: dict[str, float] | None = None, nodes: bool = True) -> dict[str, float]:
    """Return the nats by service where pods use a fiftieth of a core before the alert and ``cores`` after it.

    A quarter of eight cores is the limit of each; ``more`` multiplies another metric of the first service, by name.
    """
    rng, values = np.random.default_rng(3), {}
    for service in SERVICES:
        used = 0.02 * (1 + 0.1 * rng.standard_normal(STEPS))
        used[120:] += cores.get(service, 0.0)
        values |= {f"{service}/{USED}": used, f"{service}/{OF_LIMIT}": used / 2}
        for name, times in (more or {}).items():
            values[f"{service}/{name}"] = 5 + rng.random(STEPS)
            values[f"{service}/{name}"][120:] *= times if service in cores else 1.0
    tables = metrics_of(values)
    rows = tables["series"].to_pylist()
    where = {service: node for node, names in NODES.items() for service in names}
    rows = [row | {"pod": f"{row['service']}-0", "node": where[row["service"]] if nodes else None} for row in rows]
    quiet = metrics_of({})
    incident = (pa.Table.from_pylist(rows, tables["series"].schema), tables["points"])
    series = read_series((quiet["series"], quiet["points"]), incident, SERVICES, ALERT_NS)
    assert series is not None
    return dict(zip(SERVICES, Saturation(series, SERVICES).score(NOW).tolist(), strict=True))


def test_pod_that_takes_most_of_its_node_is_found_far_below_its_limit_and_its_neighbours_wait() -> None:
    found = scores({"cart": 0.3})
    assert found["cart"] > 5
    assert found == {
        "cart": found["cart"], "pay": -5.0, "web": -5.0, "mail": 0.0, "stock": 0.0, "tax": 0.0,
    }  # fmt: skip


def test_pods_that_all_use_more_wait_for_nobody() -> None:
    assert list(scores({"cart": 0.1, "pay": 0.1, "web": 0.1}).values()) == pytest.approx([0.0] * 6, abs=0.2)


def test_growth_below_a_limit_is_none_where_nodes_are_unknown() -> None:
    assert scores({"cart": 0.3}, nodes=False)["cart"] < 0.5


def test_requests_explain_what_a_pod_takes_and_those_in_flight_do_not() -> None:
    assert scores({"cart": 0.1}, more={"requests": 10.0})["cart"] == 0.0
    assert scores({"cart": 0.1}, more={"active_requests": 10.0})["cart"] > 3
