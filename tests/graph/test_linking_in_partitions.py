"""What tasks of a cluster do, done here one after the other: shared out by trace and put together it is one roll-up."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from odd_spans import odd_store

from hypocenter.graph.engine import duckdb_engine
from hypocenter.graph.profiles import PROFILE, Profiles
from hypocenter.graph.rollup import SCHEMAS, Rollups, merge
from hypocenter.graph.rules import Rules
from hypocenter.graph.slices import roll_up_segments
from hypocenter.graph.spark_links import OPAQUE, Plan, Wanted, survey, together
from hypocenter.tracer.window import Window


def _roll_up(paths: list[str], wanted: Wanted, partitions: int) -> Rollups:
    groups = [paths[at : at + 2] for at in range(0, len(paths), 2)]
    parts = [survey(group, wanted) for group in reversed(groups)]
    known = together(part for part in parts if part is not None)
    with duckdb_engine() as engine:
        plan = Plan(
            wanted, known.profiles, Rules.of(engine.run, known.profiles.table(), fold_operations=True), partitions
        )
    senders: Any = [plan.sent(group, np.unique(known.linked.key)) for group in groups]
    sent = known.linked.sent(senders)
    shuffled = defaultdict(list)
    for group in groups:
        for partition, block in plan.blocks(group):
            shuffled[partition].append(block)
    assert len(shuffled) == partitions
    return merge(rollups for blocks in shuffled.values() for _, rollups in plan.roll_up(blocks, sent))


@pytest.mark.parametrize("partitions", [1, 7])
@pytest.mark.parametrize(("sample", "are_ids_hex"), [(1, True), (1, False), (3, True)])
def test_partitions_of_whole_traces_add_up_to_the_bit(
    partitions: int, sample: int, are_ids_hex: bool, tmp_path: Path
) -> None:
    store = odd_store(tmp_path / "store", are_ids_hex=are_ids_hex)
    held = store.bounds("spans")
    assert held is not None
    window, paths = Window(held.start_ns + 1, held.end_ns - 10**12), store.paths("spans")
    found = _roll_up(paths, Wanted(window, sample, are_ids_hex), partitions)
    expected = roll_up_segments(paths, window, sample=sample)
    assert expected.edges.num_rows > 500
    assert [name for name in SCHEMAS if not getattr(found, name).equals(getattr(expected, name))] == []


def test_task_that_meets_ids_which_are_no_hex_says_so(tmp_path: Path) -> None:
    paths = odd_store(tmp_path / "store", are_ids_hex=False).paths("spans")
    wanted = Wanted(None, 1, are_ids_hex=True)
    assert survey(paths, wanted) is None
    known = survey(paths, Wanted(None, 1, are_ids_hex=False))
    assert known is not None
    with duckdb_engine() as engine:
        plan = Plan(wanted, known.profiles, Rules.of(engine.run, known.profiles.table()), 3)
    assert list(plan.blocks(paths)) == [OPAQUE] and plan.sent(paths, np.empty(0, np.uint64)) is None


def test_profiles_numbered_apart_are_those_numbered_together(tmp_path: Path) -> None:
    batches = odd_store(tmp_path / "store").read("spans", columns=PROFILE).to_batches()
    whole, merged = Profiles(), Profiles()
    for batch in batches:
        part = Profiles()
        part.encode(batch)
        whole.encode(batch)
        merged.add(part)
    assert len(batches) > 2 and _as_rows(merged.table()) == _as_rows(whole.table())
    assert sum(merged.spans) == sum(batch.num_rows for batch in batches)


def _as_rows(table: pa.Table) -> list[tuple[str, ...]]:
    columns = [table[name].to_pylist() for name in table.column_names if name != "profile"]
    return sorted(tuple(map(repr, row)) for row in zip(*columns, strict=True))
