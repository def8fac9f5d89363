"""One short incident of the real fault lab: its graph is the wiring, its origin is found, every pod speaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_recording import needs, record_once

from hypocenter.analysis.evaluation.cases import CaseReader, read_cases
from hypocenter.analysis.ranker import create
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.link import link
from hypocenter.tracer.ingest import ingest
from hypocenter.tracer.store import Store
from sample_data.lab.cluster import pods
from sample_data.lab.wiring import BANK, BROKER, CACHE, DATABASE, ENTRY, SERVICES, edges

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture
def label(program: Callable[..., str], out: Path) -> dict[str, Any]:
    needs(program)
    return record_once(out, "--fault", "exception", "--target", "inventory", "--seed", "1")


def test_graph_equals_the_wiring_servers_queues_and_third_party_included_and_nothing_else(
    out: Path, label: dict[str, Any], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", create=True)
    ingest([out / "recordings" / label["case"]], store)
    graph = DependencyGraph.read(store, None).to_json()
    found = {(edge["source"], edge["target"]) for edge in graph["edges"]}
    wired = {tuple(end.removeprefix("queue:") for end in edge) for edge in edges()}
    assert found == wired | {("external", ENTRY)}
    kinds = {node["id"]: node["kind"] for node in graph["nodes"]}
    queues = {"orders": "messaging", "mails": "messaging"}
    servers = {DATABASE: "database", CACHE: "cache", BANK: "external", "external": "entry"}
    assert kinds == {**dict.fromkeys(SERVICES, "service"), **queues, **servers}


def test_no_span_is_lost_on_its_way_into_the_recording(out: Path, label: dict[str, Any]) -> None:
    (case,) = read_cases(out / "CASES.jsonl")
    links = link(CaseReader().read(case).telemetry.table("spans"))
    # Each parent is there: the rest are spans within a process, which make no call.
    assert set(links.unlinked["reason"].to_pylist()) <= {"in-process"}
    # Each call of a service has both sides, but for users, and for messages, whose sender is paired with the queue.
    calls = links.calls.select(["caller", "callee", "matched"]).to_pandas()
    alone = calls[calls.callee.isin(SERVICES) & (calls.matched != "pair")]
    assert set(alone.itertuples(index=False, name=None)) == {
        ("external", ENTRY, "server-only"),
        ("orders", "fulfilment", "consumer"),
        ("mails", "notification", "consumer"),
    }
    # Each request of a user until the fault ended is a trace; one may be on either side of a boundary.
    entries = links.calls.select(["caller", "operation", "start_ns"]).to_pandas().query("caller == 'external'")
    until = entries[entries.start_ns < label["end_time_epoch_s"] * 1e9]
    traces = until.operation.str.split("/:").str[0].value_counts()
    assert len(label["effect"]) >= 4
    for effect in label["effect"]:
        counted = effect["requests_before"] + effect["requests_during"]
        assert abs(traces[effect["operation"]] - counted) <= 1


def test_fresh_incident_is_felt_and_its_origin_ranked_first(out: Path, label: dict[str, Any]) -> None:
    assert (label["root_causes"], label["effect_visible"]) == (["inventory"], True)
    assert label["inject_time_epoch_s"] <= label["effect_time_epoch_s"] <= label["end_time_epoch_s"]
    (case,) = read_cases(out / "CASES.jsonl")
    ranking = create("hypocenter").rank(CaseReader().read(case))
    assert ranking.candidates[0].service == "inventory"


def test_every_pod_has_spans_or_metrics_with_its_name_and_node(out: Path, label: dict[str, Any]) -> None:
    (case,) = read_cases(out / "CASES.jsonl")
    telemetry = CaseReader().read(case).telemetry
    said = telemetry.table("spans").select(["service", "pod", "node"]).to_pandas().drop_duplicates()
    own = {(pod.service, pod.name, pod.node) for pod in pods()}
    assert set(said.itertuples(index=False, name=None)) == {pod for pod in own if pod[0] in SERVICES}
    measured = telemetry.table("series").select(["service", "pod", "node"]).to_pandas().dropna().drop_duplicates()
    assert set(measured.itertuples(index=False, name=None)) == {pod for pod in own if pod[0] != BANK}
    assert BROKER in set(measured.service)
