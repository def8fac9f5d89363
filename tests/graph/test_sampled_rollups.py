"""Rollups of one trace in so many: whole traces, the same everywhere, adjusted counts that come to the whole."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.generate import fill
from hypocenter.graph.cache import fill as keep_rollups
from hypocenter.graph.cache import rollups
from hypocenter.graph.engine import duckdb_engine
from hypocenter.graph.rollup import Rollups, totals
from hypocenter.graph.slices import roll_up_segments
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

EVERY = Window(0, 2**62)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("sampled") / "store", create=True)
    fill(store, 150_000, batch_rows=20_000, services=20)
    return store


def test_sampled_traces_are_whole(store: Store) -> None:
    whole, sampled = (roll_up_segments(store.paths("spans"), sample=n) for n in (1, 8))
    assert set(sampled.unlinked["reason"].to_pylist()) == set(whole.unlinked["reason"].to_pylist())
    share = [sum(r.edges["missing_parents"].to_pylist()) / sum(r.edges["count"].to_pylist()) for r in (whole, sampled)]
    # The recording cuts a few traces at its end; nothing else lost its parent.
    assert share[1] < share[0] + 0.01


def test_adjusted_counts_come_to_the_whole_within_the_error_of_sampling(store: Store) -> None:
    whole, sampled = (_calls(roll_up_segments(store.paths("spans"), sample=n)) for n in (1, 8))
    assert set(sampled) <= set(whole)
    large = [edge for edge, count in whole.items() if count > 2_000]
    errors = [abs(sampled[edge] / whole[edge] - 1) for edge in large]
    # Calls of one trace come or go together, so the error is a few times that of single calls.
    expected = [np.sqrt(8 / whole[edge]) for edge in large]
    assert len(large) > 5 and all(found < 8 * bound for found, bound in zip(errors, expected, strict=True))
    assert abs(sum(sampled.values()) / sum(whole.values()) - 1) < 0.1


def _calls(found: Rollups) -> dict[tuple[str, str], float]:
    table = totals(found, EVERY).edges
    ends = zip(table["caller"].to_pylist(), table["callee"].to_pylist(), strict=True)
    return dict(zip(ends, (milli / 1000 for milli in table["adjusted_milli"].to_pylist()), strict=True))


def test_sampled_rollups_are_kept_beside_the_whole_ones_and_never_read_as_these(store: Store) -> None:
    sampled, held = Store(store.path, sample=8), store.bounds("spans")
    assert held is not None
    with duckdb_engine() as engine:
        keep_rollups(store, held, engine)
        assert keep_rollups(sampled, held, engine) > 0
        assert keep_rollups(store, held, engine) == keep_rollups(sampled, held, engine) == 0
    counts = [sum(rollups(s, held).edges["count"].to_pylist()) for s in (store, sampled)]
    assert 6 < counts[0] / counts[1] < 10
    milli = sum(rollups(sampled, held).edges["adjusted_milli"].to_pylist())
    assert milli == counts[1] * 8 * 1000


def test_sample_of_less_than_one_trace_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="one trace in 1 or more, got 0"):
        Store(store.path, sample=0)
