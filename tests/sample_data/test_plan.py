"""The seed decides everything that happens before a process exists."""

from __future__ import annotations

import itertools
import random
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_data.faults import KINDS
from sample_data.plan import Plan, plan
from sample_data.shop.load import visit
from sample_data.wiring import CALLS, DATABASE, ENTRY, REPLICAS

STRIKES = [(name, target) for name, kind in KINDS.items() for target in kind.targets or (None,)]


@given(st.sampled_from(STRIKES), st.integers(0, 10_000))
def test_equal_arguments_give_equal_plans_and_labels(strike: tuple[str, str | None], seed: int) -> None:
    first, second = plan(*strike, seed), plan(*strike, seed)
    assert first == second
    assert first.label(1_700_000_000.0) == second.label(1_700_000_000.0)


@given(st.sampled_from(STRIKES), st.integers(0, 10_000))
def test_strength_lies_in_the_range_of_its_kind_and_the_struck_pod_belongs_to_the_target(
    strike: tuple[str, str | None], seed: int
) -> None:
    made = plan(*strike, seed)
    for key, (low, high) in made.kind.strength.items():
        assert low <= made.parameters[key] <= high
    if made.kind.place in ("replica", "process", "database"):
        assert made.pod in [pod.name for pod in made.pods if pod.service == made.target]
    else:
        assert made.pod is None


def test_seed_changes_pods_and_strength() -> None:
    made = [plan("slow-service", "catalog", seed) for seed in range(20)]
    assert len({p.pods for p in made}) == 20
    assert len({p.parameters["delay_s"] for p in made}) > 15
    struck = [[pod.name for pod in p.pods if pod.service == "catalog"].index(str(p.pod)) for p in made]
    assert set(struck) == {0, 1}


def test_every_service_has_its_replicas_and_the_database_one_pod() -> None:
    counted = {name: sum(pod.service == name for pod in plan().pods) for name in (*CALLS, DATABASE)}
    assert counted == REPLICAS | {DATABASE: 1}
    assert len({pod.name for pod in plan().pods}) == len({pod.instance for pod in plan().pods}) == sum(counted.values())


def test_label_is_a_case_line() -> None:
    made = plan("network-delay", "checkout->payment", 7, warmup_s=5, baseline_s=60, during_s=30)
    assert made.label(1_700_000_000.5) == {
        "case": "network-delay-checkout-payment-7",
        "system": "shop",
        "fault_type": "network-delay",
        "inject_time_epoch_s": 1_700_000_000.5,
        "root_cause_service": "payment",
        "root_cause_pod": None,
        "root_cause_indicator": "checkout->payment",
        "parameters": made.parameters,
        "seed": 7,
        "paths": {
            "metrics": ["incidents/network-delay-checkout-payment-7/metrics.om.gz"],
            "traces": ["incidents/network-delay-checkout-payment-7/traces.jsonl.gz"],
            "logs": ["incidents/network-delay-checkout-payment-7/logs.jsonl.gz"],
        },
        "baseline": {},
        "baseline_seconds_before_inject": 60,
        "reproduce": "python -m sample_data record --fault network-delay --target 'checkout->payment' --seed 7"
        " --warmup 5 --baseline 60 --during 30 --recovery 0 --users 8 --think 2",
    }


def test_quiet_window_blames_nothing() -> None:
    label = plan("none", seed=3).label(0.0)
    assert (label["case"], label["root_cause_service"], label["root_cause_pod"]) == ("quiet-3", None, None)


def test_command_of_a_label_makes_the_plan_again() -> None:
    made = plan("crash", "payment", 11, baseline_s=33, recovery_s=2.5, users=3, think_s=0.5)
    words = shlex.split(made.command())[4:]
    given_ = dict(zip(words[::2], words[1::2], strict=True))
    seconds = {f"{key}_s": float(given_[f"--{key}"]) for key in ("warmup", "baseline", "during", "recovery", "think")}
    again = plan(given_["--fault"], given_["--target"], int(given_["--seed"]), users=int(given_["--users"]), **seconds)
    assert again == made


@pytest.mark.parametrize(
    ("fault", "target", "message"),
    [
        ("meteor", None, "unknown fault 'meteor'"),
        ("slow-database", "cart", "slow-database cannot strike 'cart'; it strikes: store-db"),
        ("network-delay", "payment->checkout", "network-delay cannot strike 'payment->checkout'"),
        ("none", "cart", "none cannot strike 'cart'; it strikes: nothing"),
    ],
)
def test_what_a_fault_cannot_strike_is_refused(fault: str, target: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(fault, target)


def test_times_follow_each_other() -> None:
    made: Plan = plan("slow-service", warmup_s=20, baseline_s=120, during_s=90, recovery_s=15)
    assert (made.inject_s, made.end_s) == (140, 245)


def test_a_user_does_the_same_again_with_the_same_seed() -> None:
    def first_requests(seed: str) -> list[tuple[str, str, str, dict[str, int] | None]]:
        rng = random.Random(seed)
        return [request for _ in range(20) for request in visit("u1", rng)]

    assert first_requests("1/user/0") == first_requests("1/user/0")
    assert first_requests("1/user/0") != first_requests("1/user/1")


def test_every_service_is_reached_from_the_entry() -> None:
    reached, waiting = set(), [ENTRY]
    while waiting:
        service = waiting.pop()
        reached.add(service)
        waiting += [callee for callee in CALLS.get(service, ()) if callee not in reached]
    assert reached == {*CALLS, DATABASE} == {ENTRY, *itertools.chain(*CALLS.values())}
