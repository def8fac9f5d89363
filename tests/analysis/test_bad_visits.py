"""Which visits of a service are bad: by version, pod, operation, tenant; and when nothing sets them apart."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hypocenter.analysis.bad_visits import bad_visits
from hypocenter.analysis.case import Case
from hypocenter.analysis.hypocenter import Hypocenter
from hypocenter.analysis.onset import SECOND_NS, Split
from hypocenter.report.answer import answer
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SPANS

START_NS, ONSET_NS, END_NS = (1_700_000_000 * SECOND_NS + s * SECOND_NS for s in (0, 600, 1200))
SPLIT = Split(START_NS, ONSET_NS, END_NS, 0.0)
EMPTY = dict.fromkeys(SPANS.names) | {"kind": 2, "status": 0, "adjusted_milli": 1000, "source": "test"}

Visit = dict[str, Any]


def visits(of: Callable[[int, bool, np.random.Generator], Visit], n: int = 600, seed: int = 1) -> Iterator[Visit]:
    """Yield ``n`` visits of ``cart`` over twenty minutes; ``of`` gives what is special about the i-th."""
    random = np.random.default_rng(seed)
    for i in range(n):
        start = START_NS + i * (END_NS - START_NS) // n
        plain = {"service": "cart", "name": ("GET /cart", "POST /cart")[i % 2], "pod": f"cart-{i // 2 % 3}"}
        plain |= {"trace_id": f"{i:032x}", "span_id": f"{i:016x}", "start_ns": start, "service_version": "1.4.0"}
        plain |= {"duration_ns": 10**7 * (1 + i % 5)}  # none takes longer than usual
        yield EMPTY | plain | of(i, start >= ONSET_NS, random)


def case(of: Callable[[int, bool, np.random.Generator], Visit], n: int = 600, seed: int = 1) -> Case:
    return Case(Batch({"spans": pa.Table.from_pylist(list(visits(of, n, seed)), SPANS)}), alert_ns=ONSET_NS)


def failing(i: int, *, bad: bool) -> Visit:
    return {"status": 2 if bad and i % 5 else 0}


def rolled_out(i: int, after: bool, _: np.random.Generator) -> Visit:
    new = after and i // 2 % 3 == 0
    return ({"service_version": "9.0.0", "pod": "cart-new"} if new else {}) | failing(i, bad=new)


def replaced(i: int, after: bool, _: np.random.Generator) -> Visit:
    return ({"service_version": "9.0.0"} if after else {}) | failing(i, bad=after)


def one_pod(i: int, after: bool, _: np.random.Generator) -> Visit:
    return failing(i, bad=after and i // 2 % 3 == 1)


def one_node(i: int, after: bool, _: np.random.Generator) -> Visit:
    return {"node": "node-b" if i // 2 % 3 else "node-a"} | failing(i, bad=after and i // 2 % 3 > 0)


def one_operation(i: int, after: bool, _: np.random.Generator) -> Visit:
    return {"duration_ns": 10**9} if after and i % 2 else {}


def one_tenant(i: int, after: bool, _: np.random.Generator) -> Visit:
    tenant = ("acme", "globex", "initech")[i % 7 % 3]
    return {"attributes": [("tenant", f'"{tenant}"'), ("request", f'"{i}"')]} | failing(
        i, bad=after and tenant == "globex"
    )


@pytest.mark.parametrize(
    ("of", "dimension", "value", "is_new"),
    [
        (rolled_out, "version", "9.0.0", True),
        (replaced, "version", "9.0.0", True),
        (one_pod, "pod", "cart-1", False),
        (one_node, "node", "node-b", False),
        (one_operation, "operation", "POST /cart", False),
        (one_tenant, "tenant", "globex", False),
    ],
)
def test_what_sets_bad_visits_apart_is_named(
    of: Callable[[int, bool, np.random.Generator], Visit], dimension: str, value: str, is_new: bool
) -> None:
    found = bad_visits(case(of), "cart", SPLIT)
    assert found is not None
    assert (found.dimension, found.value, found.is_new) == (dimension, value, is_new)


def test_figures_are_of_the_visits_since_the_onset() -> None:
    found = bad_visits(case(one_pod), "cart", SPLIT)
    assert found is not None
    assert (found.bad, found.n, found.bad_else, found.n_else) == (80, 100, 0, 200)
    assert found.text == "bad are the visits with the pod cart-1: 80% of 100, elsewhere 0% of 200"


def everywhere(i: int, after: bool, _: np.random.Generator) -> Visit:
    return failing(i, bad=after)


def nowhere(i: int, after: bool, _: np.random.Generator) -> Visit:
    return {}


def another_mix(i: int, after: bool, _: np.random.Generator) -> Visit:
    """One operation fails everywhere, and one pod happens to serve it more."""
    name = "POST /cart" if i % 4 == 0 or i // 2 % 3 == 1 else "GET /cart"
    return {"name": name} | failing(i, bad=name == "POST /cart")


@pytest.mark.parametrize("of", [everywhere, nowhere])
def test_nothing_is_named_where_all_visits_are_alike(of: Callable[[int, bool, np.random.Generator], Visit]) -> None:
    assert bad_visits(case(of), "cart", SPLIT) is None


def test_pod_that_serves_the_failing_operation_more_is_not_blamed() -> None:
    found = bad_visits(case(another_mix), "cart", SPLIT)
    assert found is not None
    assert (found.dimension, found.value) == ("operation", "POST /cart")


def test_chance_names_nothing_in_thirty_systems_with_many_attributes() -> None:
    def by_chance(i: int, after: bool, random: np.random.Generator) -> Visit:
        tags = [(f"tag{k}", f'"{random.integers(8)}"') for k in range(5)]
        return {"attributes": tags} | failing(i, bad=bool(after and random.random() < 0.3))

    named = [seed for seed in range(30) if bad_visits(case(by_chance, 300, seed), "cart", SPLIT) is not None]
    assert named == []


def test_unknown_service_has_no_contrast() -> None:
    assert bad_visits(case(one_pod), "pay", SPLIT) is None


def test_candidate_is_the_rollout_or_the_pod_and_the_answer_says_which_visits_are_bad() -> None:
    ranking = Hypocenter().rank(case(rolled_out))
    first = ranking.candidates[0]
    assert (first.service, first.entity, first.kind) == ("cart", "cart 9.0.0", "change")
    assert first.where is not None
    assert answer(ranking).where == first.where
    first = Hypocenter().rank(case(one_pod)).candidates[0]
    assert (first.service, first.entity, first.kind, first.pod) == ("cart", "cart-1", "pod", "cart-1")
