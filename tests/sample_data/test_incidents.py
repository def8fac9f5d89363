"""The recordings in git are what their labels say, and the graph read from them is the wiring that was built."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from hypocenter.graph.link import link
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.layouts import read_case_files
from sample_data.faults import KINDS
from sample_data.plan import plan
from sample_data.wiring import CALLS, DATABASE, ENTRY

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
CASES: list[dict[str, Any]] = [
    json.loads(line) for line in (SAMPLE_DATA / "CASES.jsonl").read_text(encoding="utf-8").splitlines()
]
WIRING = {("external", ENTRY, "service")} | {
    (caller, callee, "database" if callee == DATABASE else "service")
    for caller, callees in CALLS.items()
    for callee in callees
}


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case["case"])
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


@pytest.fixture(scope="module")
def telemetry(case: dict[str, Any]) -> Batch:
    return read_case_files({role: [SAMPLE_DATA / p for p in paths] for role, paths in case["paths"].items()})


def test_the_three_main_faults_and_a_quiet_window_are_there() -> None:
    kinds = {case["fault_type"] for case in CASES}
    assert kinds >= {"slow-service", "failing-service", "slow-database", "none"}
    assert kinds <= set(KINDS)


def test_recordings_are_small() -> None:
    sizes = Counter[str]()
    for file in (SAMPLE_DATA / "incidents").rglob("*"):
        sizes[file.parent.name] += file.stat().st_size if file.is_file() else 0
    sizes.pop("incidents", None)
    assert set(sizes) == {case["case"] for case in CASES}
    assert max(sizes.values()) <= 2_000_000
    assert sizes.total() <= 5_000_000


def test_label_is_that_of_the_plan(case: dict[str, Any]) -> None:
    target = case["root_cause_indicator"] or case["root_cause_service"]
    planned = plan(case["fault_type"], target, case["seed"]).label(case["inject_time_epoch_s"])
    measured = {"effect_visible", "effect", "traces_complete"}
    assert {key: value for key, value in case.items() if key not in measured} == planned


def test_every_fault_but_a_silent_one_is_felt_at_the_entry(case: dict[str, Any]) -> None:
    silent = case["fault_type"] in ("none", "code-fault")
    assert case["effect_visible"] is not silent
    assert {effect["operation"].split("/")[0] for effect in case["effect"]} == {"GET ", "POST "}


def test_graph_of_the_recording_is_the_wiring(case: dict[str, Any], telemetry: Batch) -> None:
    assert telemetry.tally.dropped == {}
    links = link(telemetry.table("spans"))
    calls = links.calls.select(["caller", "callee", "callee_kind"]).to_pylist()
    assert {(c["caller"], c["callee"], c["callee_kind"]) for c in calls} == WIRING
    # A step that the code skips leaves the calls of that step out, never the edge: others use it too.
    assert set(pc.unique(links.calls["matched"]).to_pylist()) == {"pair", "client-only", "server-only"}
    assert set(pc.unique(links.unlinked["reason"]).to_pylist()) == {"in-process"}


def test_every_pod_speaks_in_every_signal(case: dict[str, Any], telemetry: Batch) -> None:
    pods = {pod.name: pod.service for pod in plan(seed=case["seed"]).pods}
    services = {pod: service for pod, service in pods.items() if service != DATABASE}
    for signal, expected in (("spans", services), ("logs", services), ("series", pods)):
        table = telemetry.table(signal)
        spoke = dict(zip(table["pod"].to_pylist(), table["service"].to_pylist(), strict=True))
        assert {pod: service for pod, service in spoke.items() if pod} == expected, signal


def test_log_lines_carry_the_context_of_their_spans(case: dict[str, Any], telemetry: Batch) -> None:
    spans, logs = telemetry.table("spans"), telemetry.table("logs")
    known = set(zip(spans["trace_id"].to_pylist(), spans["span_id"].to_pylist(), strict=True))
    written = list(zip(logs["trace_id"].to_pylist(), logs["span_id"].to_pylist(), strict=True))
    assert len(written) > 0.4 * len(known)
    assert [context for context in written if context not in known and context != (None, None)] == []


def test_fault_begins_after_the_baseline_that_the_label_names(case: dict[str, Any], telemetry: Batch) -> None:
    first = pc.min(telemetry.table("spans")["start_ns"]).as_py() / 1e9
    last = pc.max(telemetry.table("spans")["start_ns"]).as_py() / 1e9
    assert case["inject_time_epoch_s"] - first == pytest.approx(case["baseline_seconds_before_inject"], abs=5)
    assert last - case["inject_time_epoch_s"] == pytest.approx(90, abs=5)
