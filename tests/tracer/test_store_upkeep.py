"""What compaction, pruning and checking promise: the same rows, each once, at any moment and after any crash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_rows import points, spans, table

from hypocenter.errors import SourceError
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store
from hypocenter.tracer.store import durable as durable_module
from hypocenter.tracer.store.check import Integrity, check
from hypocenter.tracer.store.compact import Compaction, compact
from hypocenter.tracer.store.prune import Pruning, prune
from hypocenter.tracer.store.segment import write
from hypocenter.tracer.window import HOUR_NS, Window

NOON = 1_700_049_600_000_000_000
LATER = NOON + 5 * HOUR_NS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def starts(store: Store, window: Window | None = None) -> Counter[int]:
    return Counter(store.read("spans", window, ["start_ns"]).column(0).to_pylist())


def files(store: Store, signal: str = "spans") -> list[str]:
    return sorted(path.relative_to(store.path / signal).as_posix() for path in (store.path / signal).rglob("*.parquet"))


def test_segments_of_a_past_hour_become_one_sorted_by_trace(store: Store) -> None:
    for number, trace in enumerate("cab"):
        rows = table("spans", trace_id=[trace, "z"], start_ns=[number, 10 + number])
        store.append(Batch({"spans": rows}), name=f"s{number}", arrived_ns=NOON + number)
    store.append(spans(99), name="now", arrived_ns=LATER)
    assert compact(store, now_ns=LATER) == Compaction(replaced=3, written=1, rows=6)
    merged, fresh = store.segments("spans")
    assert (fresh.name, merged.rows, merged.start_ns, merged.end_ns) == ("now", 6, 0, 13)
    assert store.read("spans", columns=["trace_id", "start_ns"]).to_pylist() == [
        {"trace_id": trace, "start_ns": time}
        for trace, time in [("a", 1), ("b", 2), ("c", 0), ("z", 10), ("z", 11), ("z", 12), ("-", 99)]
    ]


def test_replaced_files_stay_for_readers_during_the_grace_period(store: Store) -> None:
    for number in range(3):
        store.append(spans(number), name=f"s{number}", arrived_ns=NOON)
    before = store.paths("spans")
    compact(store, now_ns=LATER)
    assert all(Path(path).exists() for path in before)
    compact(store, now_ns=LATER + HOUR_NS)
    assert all(Path(path).exists() for path in before)
    compact(store, now_ns=LATER + HOUR_NS + 1)
    assert not any(Path(path).exists() for path in before)
    assert starts(store) == Counter(range(3))
    assert store.problems == []


def test_name_that_was_compacted_or_pruned_still_counts_as_there(store: Store) -> None:
    for name in ("a", "b", "c"):
        store.append(spans(1), name=name, arrived_ns=NOON)
    compact(store, now_ns=LATER, grace_ns=0)
    prune(store, before_ns=5, now_ns=LATER + 1, grace_ns=0)
    assert starts(store) == Counter()
    assert Store(store.path).append(spans(1), name="b") == []
    assert starts(store) == Counter()


def test_compacted_segments_are_compacted_again_and_this_comes_to_rest(store: Store) -> None:
    for round_ in range(3):
        for number in range(3):
            store.append(spans(10 * round_ + number), arrived_ns=NOON)
        assert compact(store, now_ns=LATER + round_).written == 1
    assert len(store.segments("spans")) == 1
    assert compact(store, now_ns=LATER + 9) == Compaction(0, 0, 0)
    assert starts(store) == Counter(10 * round_ + number for round_ in range(3) for number in range(3))


def test_damaged_segment_is_left_as_it_is_and_the_rest_compacted(store: Store) -> None:
    appended = [store.append(spans(number), name=f"s{number}", arrived_ns=NOON)[0] for number in range(4)]
    content = bytearray(appended[1].path.read_bytes())
    content[100:140] = bytes(40)
    appended[1].path.write_bytes(content)
    assert compact(store, now_ns=LATER) == Compaction(replaced=3, written=1, rows=3)
    assert appended[1].path.exists()
    assert sorted(store.read("spans").column("start_ns").to_pylist()) == [0, 2, 3]
    assert [problem.split(":")[0] for problem in store.problems] == [str(appended[1].path)]


def test_second_upkeep_is_refused_while_one_is_at_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        store.append(spans(number), arrived_ns=NOON)

    def meddle(*_: Any) -> None:
        with pytest.raises(SourceError, match="another upkeep is at work") as raised:
            prune(Store(store.path), before_ns=LATER)
        assert raised.value.retryable
        raise KeyboardInterrupt

    monkeypatch.setattr("hypocenter.tracer.store.compact.rows_in", meddle)
    with pytest.raises(KeyboardInterrupt):
        compact(store, now_ns=LATER)
    monkeypatch.undo()
    assert compact(store, now_ns=LATER).replaced == 2


def test_prune_removes_what_is_wholly_older_and_keeps_series_and_objects(store: Store) -> None:
    store.append(
        Batch(
            {
                **spans(1, 9).tables,
                **points(3).tables,
                "series": table("series", series_id=["s"]),
                "objects": table("objects", valid_from_ns=[1]),
            }
        )
    )
    store.append(spans(9, 10))
    assert prune(store, before_ns=10) == Pruning(segments=2, rows=3)
    assert starts(store) == Counter([9, 10])
    assert [store.read(signal).num_rows for signal in ("points", "series", "objects")] == [0, 1, 1]
    assert len(files(store)) == 2
    prune(store, before_ns=10, grace_ns=-HOUR_NS)
    assert len(files(store)) == 1


class Crash(BaseException):
    """Stands for the death of the process."""


def crash_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Die at the given step that touches the disk, and let nothing touch it after that; return the steps done."""
    done = 0

    def dying(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done > step:
                raise Crash
            return work(*arguments, **options)

        return call

    for name in ("sync", "remove"):
        monkeypatch.setattr(durable_module, name, dying(getattr(durable_module, name)))
    for name in ("rename", "write_bytes", "mkdir"):
        monkeypatch.setattr(Path, name, dying(getattr(Path, name)))
    monkeypatch.setattr("hypocenter.tracer.store.compact.write", dying(write))
    return lambda: done


@pytest.mark.parametrize("work", ["compact", "prune"])
def test_death_at_any_step_neither_loses_nor_doubles_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    everything = Counter([*range(6), *range(100, 106)])
    kept = Counter(range(100, 106))
    template = Store(tmp_path / "template", create=True)
    for hour in range(2):
        for number in range(3):
            first = 2 * number + 100 * hour
            template.append(spans(first, first + 1), arrived_ns=NOON + hour * HOUR_NS)
    step, finished = 0, False
    while not finished:
        path = tmp_path / str(step)
        shutil.copytree(template.path, path)
        with monkeypatch.context() as patch:
            crash_at(step, patch)
            try:
                upkeep(work, Store(path), LATER)
                finished = True
            except Crash:
                pass
        seen = starts(Store(path))
        assert seen == everything or (work == "prune" and seen == kept)
        for again in range(1, 4):
            upkeep(work, Store(path), LATER + again)
        final = Store(path)
        assert starts(final) == (kept if work == "prune" else everything)
        assert len(files(final)) == len(final.segments("spans")) == (3 if work == "prune" else 2)
        assert final.problems == []
        step += 1
    assert step > 5


@pytest.fixture
def merging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two old records be merged already."""
    monkeypatch.setattr("hypocenter.tracer.store.tidy._SEVERAL", 2)


def records(store: Store) -> int:
    return len(list((store.path / "spans/changes").iterdir()))


@pytest.mark.usefixtures("merging")
def test_death_while_records_are_merged_neither_loses_nor_doubles_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Store(tmp_path / "template", create=True)
    template.append(spans(99), name="named", arrived_ns=NOON)
    for number in range(4):
        template.append(spans(number), arrived_ns=NOON)
        compact(template, now_ns=LATER + number, grace_ns=HOUR_NS)
    everything = Counter([99, *range(4)])
    step, finished, least = 0, False, 99
    while not finished:
        path = tmp_path / str(step)
        shutil.copytree(template.path, path)
        with monkeypatch.context() as patch:
            crash_at(step, patch)
            try:
                for again in range(1, 4):
                    compact(Store(path), now_ns=LATER + again * 2 * HOUR_NS)
                finished = True
            except Crash:
                pass
        assert starts(Store(path)) == everything
        for again in range(4, 8):
            compact(Store(path), now_ns=LATER + again * 2 * HOUR_NS)
            assert starts(Store(path)) == everything
        final = Store(path)
        assert (len(files(final)), final.problems, final.append(spans(99), name="named")) == (1, [], [])
        least = min(least, records(final))
        step += 1
    assert (step > 10, least) == (True, 1)


@pytest.mark.usefixtures("merging")
def test_reader_whose_listing_is_older_than_the_merge_of_records_lists_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names() -> list[str]:
        return [path.name for path in (store.path / "spans/changes").iterdir()]

    for number in range(3):
        store.append(spans(number), arrived_ns=NOON)
        compact(store, now_ns=LATER + number)
    listed, is_first = names(), [True]
    for again in range(1, 4):
        compact(store, now_ns=LATER + again * 2 * HOUR_NS)
    assert set(listed) & set(names()) == set()
    monkeypatch.setattr("hypocenter.tracer.store.changes._read", {})
    real = os.listdir

    def stale(path: Any) -> list[str]:
        if str(path).endswith("spans/changes") and is_first.pop(0) if is_first else False:
            return listed
        return real(path)

    monkeypatch.setattr(os, "listdir", stale)
    assert starts(Store(store.path)) == Counter(range(3))
    assert is_first == []


def test_number_of_records_and_partitions_stays_bounded_over_hours_of_live_compaction(store: Store) -> None:
    expected = Counter[int]()
    most = 0
    for number in range(75):  # thirty hours, a round each 24 minutes, everything kept for six hours
        now = NOON + number * HOUR_NS * 2 // 5
        for _ in range(8):
            store.append(spans(now), arrived_ns=now)
        expected[now] += 8
        compact(store, now_ns=now, live=True)
        prune(store, now - 6 * HOUR_NS, now_ns=now)
        most = max(most, records(store))
    seen = starts(store)
    assert {time: count for time, count in expected.items() if time >= now - 6 * HOUR_NS} == {
        time: count for time, count in seen.items() if time >= now - 6 * HOUR_NS
    }
    assert len(seen) < 8 * 5 + 5
    assert most < 60
    assert len(list((store.path / "spans").glob("date=*/hour=*"))) < 12
    assert store.problems == []


def upkeep(work: str, store: Store, now_ns: int) -> None:
    if work == "prune":
        prune(store, before_ns=50, now_ns=now_ns, grace_ns=0)
    else:
        compact(store, now_ns=now_ns, grace_ns=0)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 3), st.lists(st.integers(0, 50), min_size=1, max_size=4)),
        st.tuples(st.just("compact"), st.integers(1, 6), st.sampled_from([0, 2 * HOUR_NS])),
        st.tuples(st.just("prune"), st.integers(0, 20), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=operations, start=st.integers(0, 50), length=st.integers(1, 30))
@pytest.mark.usefixtures("merging")
def test_compaction_in_any_order_with_appends_and_pruning_changes_no_row(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, Any]], start: int, length: int
) -> None:
    store = Store(tmp_path_factory.mktemp("upkeep"), create=True)
    plain = Store(tmp_path_factory.mktemp("plain"), create=True)
    pruned = 0
    for at, (operation, number, argument) in enumerate(operations):
        if operation == "append":
            for each in (store, plain):
                each.append(spans(*argument), arrived_ns=NOON + number * HOUR_NS + at)
        elif operation == "compact":
            compact(store, now_ns=NOON + number * HOUR_NS, grace_ns=argument)
        else:
            pruned = max(pruned, number)
            before = starts(store)
            prune(store, before_ns=number, now_ns=NOON)
            gone = before - starts(store)
            assert all(time < number for time in gone)
            assert starts(store) + gone == before
    window = Window(max(start, pruned), max(start, pruned) + length)
    assert starts(store, window) == starts(plain, window)
    assert store.problems == []


# Compacts a store over and over, without grace for what is not visible any more.
COMPACTOR = """
from hypocenter.tracer.store import Store
from hypocenter.tracer.store.compact import compact
store = Store({store!r})
for round in range(20):
    compact(store, now_ns={later} + round)
    print(round, flush=True)
"""


def test_reader_sees_each_row_once_while_another_process_compacts(store: Store) -> None:
    for number in range(40):
        store.append(spans(2 * number, 2 * number + 1), arrived_ns=NOON + number % 4 * HOUR_NS)
    code = COMPACTOR.format(store=str(store.path), later=LATER)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            assert starts(store) == Counter(range(80))
    assert process.returncode == 0
    assert (starts(store), len(store.segments("spans")), store.problems) == (Counter(range(80)), 4, [])


def test_check_reads_everything_and_names_what_is_wrong(store: Store) -> None:
    appended = [store.append(spans(number, 5), name=f"s{number}")[0] for number in range(3)]
    size = sum(segment.path.stat().st_size for segment in appended)
    assert check(store) == Integrity(segments=3, rows=6, size_bytes=size, problems=[])
    content = bytearray(appended[0].path.read_bytes())
    content[100:140] = bytes(40)
    appended[0].path.write_bytes(content)
    appended[2].path.write_bytes(appended[2].path.read_bytes()[:50])
    found = check(Store(store.path))
    assert (found.segments, found.rows) == (2, 4)
    assert [problem.split(":")[0] for problem in found.problems] == [str(appended[0].path), str(appended[2].path)]


def test_compacted_file_that_is_missing_is_named(store: Store) -> None:
    for number in range(2):
        store.append(spans(number), arrived_ns=NOON)
    compact(store, now_ns=LATER)
    (merged,) = store.segments("spans")
    merged.path.unlink()
    assert check(Store(store.path)).problems == [f"{merged.path}: cannot be found (No such file or directory)"]


def test_record_of_a_change_that_cannot_be_read_stops_the_reader(store: Store) -> None:
    for number in range(2):
        store.append(spans(number), arrived_ns=NOON)
    compact(store, now_ns=LATER)
    (record,) = (store.path / "spans/changes").iterdir()
    torn = record.with_name("0.json")
    record.rename(torn)
    torn.write_text("{")
    with pytest.raises(SourceError, match=r"0\.json: expected a record of a change"):
        store.read("spans")


def test_a_process_that_compacts_for_long_does_not_remember_what_it_replaced(store: Store) -> None:
    sizes = []
    tracemalloc.start()
    for number in range(7):
        for _ in range(40):
            store.append(spans(NOON), arrived_ns=NOON)
        compact(store, now_ns=LATER + number, grace_ns=0)
        assert len(store.segments("spans")) == 1
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    replaced = 4 * 40
    assert (sizes[-1] - sizes[-5]) / replaced < 400, (
        sizes
    )  # bytes a segment: its name in a record; with its footer 1,481
