"""The fault lab before anything runs: the seed decides plan and label, and the matrix keeps what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_data.lab.cluster import pods
from sample_data.lab.faults import KINDS
from sample_data.lab.grid import ALONE, incidents, missing, part_of, record_all
from sample_data.lab.load import BURST_EVERY_S, VISITS_PER_S, arrivals, visit
from sample_data.lab.plan import TEST_TARGETS, plan
from sample_data.lab.recorder import check
from sample_data.lab.wiring import SERVICES

ROOT = Path(__file__).parents[2]
STRIKES = [(name, target) for name, kind in KINDS.items() for target in kind.targets or (None,)]


@given(st.sampled_from(STRIKES), st.integers(0, 10_000))
def test_equal_arguments_give_equal_labels(strike: tuple[str, str | None], seed: int) -> None:
    assert plan(*strike, seed).label() == plan(*strike, seed).label()


@given(st.sampled_from(STRIKES), st.integers(0, 10_000))
def test_strength_lies_in_the_range_of_its_kind_and_the_struck_pod_belongs_to_the_target(
    strike: tuple[str, str | None], seed: int
) -> None:
    made = plan(*strike, seed)
    (fault,), (pod,) = made.faults, made.struck
    for key, (low, high) in fault.strength.items():
        assert low <= fault.parameters[key] <= high
    own = [each.name for each in pods() if each.service == fault.target]
    assert pod in own if pod else fault.granularity in ("edge", "node", "indicator", "service")


def test_two_processes_print_the_same_plan() -> None:
    command = [sys.executable, "-m", "sample_data.lab", "record", "--plan", "--fault", "crash-loop", "--seed", "7"]
    first, second = (
        subprocess.run([*command, "--out", "x"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    )
    assert first == second
    assert json.loads(first)["case"] == "crash-loop-payment-7"


def test_pair_names_both_causes() -> None:
    label = plan("exception+slow-handler", "inventory+search", 1).label()
    assert label["root_causes"] == ["inventory", "search"]
    assert [origin["service"] for origin in label["origin"]] == ["inventory", "search"]
    assert label["case"] == "exception-and-slow-handler-inventory-search-1"


def test_granularity_is_what_the_fault_struck() -> None:
    def origin(kind: str, target: str) -> tuple[object, ...]:
        (found,) = plan(kind, target, 1).origin()
        return found["granularity"], found["service"], found["edge"], found["node"], found["change"], found["indicator"]

    assert origin("network-delay", "checkout->payment") == ("edge", "payment", "checkout->payment", None, None, None)
    assert origin("noisy-neighbour", "node-b") == ("node", None, None, "node-b", None, "cpu")
    assert origin("expired-credential", "payment")[:2] == ("change", "payment")
    assert origin("traffic-surge", "gateway")[-1] == "traffic"


def test_broken_exporter_and_quiet_window_blame_no_service() -> None:
    assert plan("telemetry-loss", "payment", 1).label()["root_causes"] == []
    assert plan("none", None, 1).label()["root_causes"] == []


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        ("slow", None, "unknown fault 'slow'"),
        ("disk-full", "cart", "strikes: invoice"),
        ("crash+none", "cart", "a target"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(kind: str, target: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(kind, target, 1)


def test_test_half_has_forty_incidents_of_fifteen_kinds_and_the_further_ones_are_all_of_it() -> None:
    further = incidents("further")
    assert {incident.split for incident in further} == {"test"}
    tested = [i for i in incidents() + further if i.split == "test" and i.kind != "none"]
    assert len({incident.case for incident in tested}) == len(tested) >= 40
    assert len({incident.kind for incident in tested}) >= 15


def test_unknown_matrix_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known: shipped, further"):
        incidents("large")


@pytest.mark.parametrize(
    "kind", ["partition", "dns-failure", "disk-full", "telemetry-loss", "bad-rollout", "packet-loss"]
)
def test_what_would_strike_the_machine_itself_is_refused_without_namespaces(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sample_data.lab.recorder.may_use_namespaces", lambda: False)
    with pytest.raises(RuntimeError, match=f"{kind} needs namespaces for each pod; run as root"):
        check(plan(kind))
    with pytest.raises(RuntimeError, match=f"not recorded: .*{kind} needs namespaces"):
        record_all(tmp_path, [plan(kind)], lambda _what, _share: None)
    check(plan("crash"))


def test_matrix_has_forty_incidents_of_fifteen_kinds_and_ten_quiet_windows_each_once() -> None:
    planned = incidents()
    kinds = Counter(incident.kind for incident in planned)
    assert kinds.pop("none") == 10
    assert kinds.total() >= 40
    assert len(kinds) >= 25
    assert len({incident.case for incident in planned}) == len(planned)


def test_split_is_declared_by_target_and_seed() -> None:
    for incident in incidents():
        held_out = any(fault.target in TEST_TARGETS for fault in incident.faults)
        assert incident.split == ("test" if held_out or incident.seed % 2 == 0 else "train")
    assert {incident.split for incident in incidents()} == {"train", "test"}


def test_parts_share_the_matrix_and_leave_what_must_be_alone() -> None:
    planned = incidents()
    shared = [incident.case for part in (1, 2) for incident in part_of(planned, part, 2)]
    assert sorted(shared) == sorted(incident.case for incident in planned if incident.kind not in ALONE)
    assert part_of(planned, 1, 1) == planned


def test_grid_goes_on_with_what_has_no_label_or_lost_its_files(tmp_path: Path) -> None:
    first, second, third = incidents()[:3]
    for incident, is_there in ((first, True), (second, False)):
        path = tmp_path / f"{incident.case}.parquet"
        label = {"case": incident.case, "paths": {"traces": [path.name]}}
        with (tmp_path / "CASES.jsonl").open("a") as file:
            file.write(json.dumps(label) + "\n")
        if is_there:
            path.touch()
    assert missing(tmp_path, [first, second, third]) == [second, third]


def test_seed_decides_who_comes_when_and_what_each_does() -> None:
    def schedule(seed: int) -> list[tuple[float, list[tuple[str, str, str]]]]:
        return [(wait_s, visit(rng)) for wait_s, rng in islice(arrivals(seed), 500)]

    first = schedule(5)
    assert first == schedule(5) != schedule(6)
    assert all(2 <= len(requests) <= 5 for _, requests in first)
    # Two of three visits of a burst come at once, every fifteen seconds.
    seconds, together = sum(wait_s for wait_s, _ in first), sum(wait_s == 0 for wait_s, _ in first)
    assert 0.5 < together / (2 * seconds / BURST_EVERY_S) < 2
    assert 0.8 < (len(first) - together) / (VISITS_PER_S * seconds) < 1.25


def test_system_is_of_the_size_it_claims() -> None:
    assert len(SERVICES) == 18
    assert {wired.language for wired in SERVICES.values()} == {"python", "node"}
    assert Counter(pod.service for pod in pods())["catalog"] == 2
